"""The entry of `tune-cnn`: answers signals before anything else is imported, which takes a second on a slow disk."""

from tune_cnn.interrupts import go_on_with, interrupts, typed_command


def main() -> None:
    """Run the command line; a signal at any moment is answered in a line, with 128 and its number as exit code."""
    interrupts.farewell = lambda: go_on_with(typed_command())
    try:
        with interrupts.listening():
            from tune_cnn.cli import main as run

            run()
    except SystemExit:
        raise
    except BaseException:
        if not interrupts.exit_code:
            raise
        # It came of the signal: what is interrupted while it makes a class raises a RuntimeError. Half-imported modules
        # may not be torn down in order.
        interrupts.leave()


if __name__ == "__main__":
    main()
