"""The command line: thin. Heavy imports stay inside the commands, so that --help and a typo answer at once."""

import errno
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from tune_cnn import cli_models, cli_start
from tune_cnn import cli_options as options
from tune_cnn.cli_terminal import cache_of, terminal
from tune_cnn.errors import ChangedDataError, InputError, StoreError, TuneCnnError
from tune_cnn.interrupts import INTERRUPTED, go_on_with, interrupts, typed_command
from tune_cnn.invocation import program
from tune_cnn.masking import masked
from tune_cnn.results.display import line
from tune_cnn.urls import absolute, is_url

if TYPE_CHECKING:
    from tune_cnn.search.open_space import OpenedSpace

app = typer.Typer(
    name="tune-cnn",
    help="Search the best CNN for your images: freeze depth, learning rates, augmentation; on one machine or many.\n\n"
    "Begin with `tune-cnn init DATA_DIR`, look at what it wrote with `tune-cnn check`, then run `tune-cnn search`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_FLAGS = (
    "search.trials",
    "training.epochs",
    "search.hours",
    "search.concurrent",
    "search.per_trial.cpus",
    "search.per_trial.gpus",
    "search.seed",
)
_OF_A_PATH = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
"""Errors of the system that say nothing of a disk, but that a path given is none for its purpose."""
_debug = False


@app.callback()
def _options(debug: options.Debug = False, version: options.Version = False) -> None:  # noqa: ARG001 - shown at once
    global _debug  # noqa: PLW0603 - the one setting that main() needs after typer is through
    _debug = debug


@app.command()
def search(
    space_file: options.SpaceFile,
    data: options.DataDir = None,
    weights: options.WeightsDir = None,
    out: options.OutDir = "runs",
    name: options.RunName = None,
    trials: options.Trials = None,
    epochs: options.Epochs = None,
    hours: options.Hours = None,
    concurrent: options.Concurrent = None,
    cpus_per_trial: options.CpusPerTrial = None,
    gpus_per_trial: options.GpusPerTrial = None,
    address: options.Address = None,
    insecure_cluster: options.InsecureCluster = False,
    seed: options.Seed = None,
    cache_dir: options.CacheDir = None,
    cache_gb: options.CacheGb = None,
    sets: options.Sets = None,
) -> None:
    """Search a space: trials, tables, best models.

    Writes a run folder (--out and --name, runs/SPACE'S NAME by default). Run again, it goes on where it was; with a
    larger --trials it goes on to that.
    """
    overrides = _overrides(sets, trials, epochs, hours, concurrent, cpus_per_trial, gpus_per_trial, seed)
    from tune_cnn.search.open_space import open_space

    opened = open_space(space_file, overrides=overrides, data_root=data)
    run = f"{out.rstrip('/') or '/'}/{name or opened.space.name}"
    given = Given(weights, address, insecure_cluster, cache_dir, cache_gb)
    _search(opened, run, given, overrides=overrides)


@app.command()
def resume(
    run: options.RunPath,
    weights: options.WeightsDir = None,
    address: options.Address = None,
    insecure_cluster: options.InsecureCluster = False,
    cache_dir: options.CacheDir = None,
    cache_gb: options.CacheGb = None,
) -> None:
    """Go on with an interrupted search.

    Finished trials stay as they are; those that ran go on after their last epoch.
    """
    from tune_cnn.results.records import RunFolder
    from tune_cnn.search.brought import brought
    from tune_cnn.search.open_space import open_space

    folder = RunFolder(brought(run, _say) if is_url(run) else Path(run))
    if not folder.current_space.is_file():
        missing = f"{run.rstrip('/')}/{folder.space.name}"
        raise InputError(f"{missing}: no such file; give a run folder that `tune-cnn search` wrote")
    given = Given(weights, address, insecure_cluster, cache_dir, cache_gb)
    _search(open_space(folder.current_space), run, given)


@app.command()
def extend(
    run: options.RunPath,
    trials: options.TrialsInTheEnd,
    space: options.ChangedSpace = None,
    data: options.DataDir = None,
    weights: options.WeightsDir = None,
    address: options.Address = None,
    insecure_cluster: options.InsecureCluster = False,
    cache_dir: options.CacheDir = None,
    cache_gb: options.CacheGb = None,
    sets: options.Sets = None,
) -> None:
    """Add trials to a run, with a changed space too.

    --trials says how many the run has in the end, not how many are added. Old trials that lie within the new space
    count for it as if it had been theirs from the beginning; the others stay in the table, and nothing is learned from
    them. Of a --space, what --set, --epochs and the like changed for the first search has to be written or given anew.
    """
    from tune_cnn.results.records import RunFolder
    from tune_cnn.search.brought import brought
    from tune_cnn.search.extension import open_extended

    folder = RunFolder(brought(run, _say) if is_url(run) else Path(run))
    opened = open_extended(folder, space, trials=trials, overrides=sets or [], data_root=data)
    given = Given(weights, address, insecure_cluster, cache_dir, cache_gb)
    _search(opened, run, given, extend=True)


@app.command()
def check(
    space_file: options.SpaceFile,
    data: options.DataDir = None,
    csv: options.DoubtsCsv = None,
    sets: options.Sets = None,
    cache_dir: options.CacheDir = None,
    cache_gb: options.CacheGb = None,
) -> None:
    """Look over a space and its data; train nothing.

    Shows what would be searched, how many images there are of each class, and what is doubtful about either.
    """
    from tune_cnn.search.check import check_space
    from tune_cnn.search.open_space import open_space

    opened = open_space(space_file, overrides=sets or [], data_root=data)
    check_space(opened.space, terminal(), cache=cache_of(cache_dir, cache_gb), csv_file=csv)


@app.command()
def plan(
    space_file: options.SpaceFile,
    data: options.DataDir = None,
    weights: options.WeightsDir = None,
    out: options.OutDir = "runs",
    trials: options.Trials = None,
    epochs: options.Epochs = None,
    hours: options.Hours = None,
    concurrent: options.Concurrent = None,
    cpus_per_trial: options.CpusPerTrial = None,
    gpus_per_trial: options.GpusPerTrial = None,
    seed: options.Seed = None,
    cache_dir: options.CacheDir = None,
    cache_gb: options.CacheGb = None,
    sets: options.Sets = None,
    as_json: options.PlanJson = False,
) -> None:
    """Say what a search will cost, before it is spent.

    Times a few steps of what the space may draw on this machine, and simulates searches: trials, hours, disk, memory.
    """
    from tune_cnn.search.open_space import open_space

    overrides = _overrides(sets, trials, epochs, hours, concurrent, cpus_per_trial, gpus_per_trial, seed)
    opened = open_space(space_file, overrides=overrides, data_root=data)
    from tune_cnn.search.brought import working_folder
    from tune_cnn.search.plan import plan_search
    from tune_cnn.search.plan_output import plan_json, print_plan

    planned = plan_search(
        opened,
        cache=cache_of(cache_dir, cache_gb),
        weights_dir=weights,
        run_dir=working_folder(out),
        note=_say,
    )
    if as_json:
        typer.echo(plan_json(planned))
    else:
        print_plan(planned, terminal())


@app.command()
def train(
    config: options.ConfigFile,
    data: options.ConfigData = None,
    weights: options.WeightsDir = None,
    out: options.TrialOut = None,
    cache_dir: options.CacheDir = None,
    cache_gb: options.CacheGb = None,
) -> None:
    """Train one configuration, or a trial again.

    Without Ray. A trial of a run is held against what the run recorded: its scores are equal on the same machine.
    """
    from tune_cnn.repeat import repeat_trial

    repeat_trial(
        config, out, cache=cache_of(cache_dir, cache_gb), console=terminal(), weights_dir=weights, data_root=data
    )


@app.command()
def leaderboard(
    runs: options.RunPaths,
    csv: options.RowsCsv = None,
    top: options.TopRows = 10,
    best_per: options.BestPer = None,
    as_json: options.RowsJson = False,
) -> None:
    """Show the trials of one or several runs, best first.

    Runs are ranked together if they saw the same images and were judged by the same metric.
    """
    from tune_cnn.results.tables import json_text, write_asked
    from tune_cnn.search.brought import tables_of
    from tune_cnn.search.compare import compare_runs, show_comparison

    with tempfile.TemporaryDirectory(prefix="tc-") as fetched:
        places = [tables_of(run, Path(fetched) / str(number)) for number, run in enumerate(runs)]
        comparison = compare_runs(places, best_per=best_per)
    if comparison.warning:
        _say(comparison.warning)
    if as_json:
        typer.echo(json_text(comparison.rows))
    else:
        show_comparison(comparison, terminal(), top=top)
    if csv is not None:
        write_asked(csv, comparison.columns, comparison.rows)
        if not as_json:
            terminal().print(line(f"wrote {csv}"), soft_wrap=True)


app.add_typer(cli_models.app)
app.add_typer(cli_start.app)


def _overrides(sets: list[str] | None, *flags: float | str | None) -> list[str]:
    """Give what the command line changes in a space: --set first, then the options of their own, in their order."""
    named = zip(_FLAGS, flags, strict=True)
    return [*(sets or []), *(f"{name}={value}" for name, value in named if value is not None)]


@dataclass(frozen=True)
class Given:
    """Options of a call that the next call on the run folder needs too; what the space holds, the folder remembers."""

    weights: Path | None
    address: str | None
    insecure_cluster: bool
    cache_dir: Path | None
    cache_gb: float | None

    def words(self) -> list[str]:
        """As they are written on the command line."""
        words: list[str] = []
        for name, value in vars(self).items():
            option = f"--{name.replace('_', '-')}"
            words += [option] if value is True else [] if value in (None, False) else [option, str(value)]
        return words


def _say(text: str) -> None:
    """Say something beside the output proper."""
    Console(stderr=True).print(line(masked(text)), soft_wrap=True)


def _search(
    opened: "OpenedSpace", run: str, given: Given, *, extend: bool = False, overrides: Sequence[str] = ()
) -> None:
    from tune_cnn.machine import collector_asleep
    from tune_cnn.results.records import RunFolder
    from tune_cnn.search.brought import brought
    from tune_cnn.search.changes import Asked

    folder = RunFolder(brought(run, _say))  # a storage that cannot be used is told before anything heavy is imported
    from tune_cnn.search.places import SearchPlaces
    from tune_cnn.search.screen import Screen

    with collector_asleep():
        from tune_cnn.search.search import search

    sets = [f"--set={text}" for text in overrides if not text.startswith("search.trials=")]
    asked = Asked(extend, ("--space", str(opened.space.path), *sets))
    cache = cache_of(given.cache_dir, given.cache_gb)
    storage = absolute(run) if is_url(run) else None
    places = SearchPlaces(folder, cache, given.weights, given.address, given.insecure_cluster, storage)
    command, resume = typed_command(), masked(f"{program()} {shlex.join(['resume', run, *given.words()])}")
    before = _changed(places.run.run)
    # Until run.json tells of this call, what it asks for is known to nobody else.
    interrupts.farewell = lambda: go_on_with(command if _changed(places.run.run) == before else resume)
    try:
        search(opened.space, places, Screen(terminal()), backbones=opened.backbones, command=command, asked=asked)
    except (StoreError, ChangedDataError, OSError) as error:
        if not _is_of_a_path(error):
            _say(interrupts.farewell().removeprefix(INTERRUPTED))
        raise


def _changed(file: Path) -> int | None:
    """Say when a file was written last, in nanoseconds; None if there is none."""
    return file.stat().st_mtime_ns if file.exists() else None


def _is_of_a_path(error: Exception) -> bool:
    """Whether the user has to give another path."""
    return isinstance(error, OSError) and error.errno in _OF_A_PATH


def _check_words(words: Sequence[str]) -> None:
    """Refuse names that the files of a run cannot hold; `predict` keeps none.

    Raises:
        InputError: a word is not UTF-8.
    """
    for word in words if "predict" not in words else ():
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{word}: is not UTF-8, and files hold it as text; give it another name") from error


def _text(error: TuneCnnError | OSError) -> str:
    """Give an error as one reads it; an OSError with the file first, without its number."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def main() -> None:
    """Run the command line; every error on purpose becomes one message and an exit code, never a traceback."""
    interrupts.farewell = lambda: go_on_with(typed_command())
    try:
        with interrupts.listening():
            _check_words(sys.argv[1:])
            app()
    except SystemExit as done:
        code = done.code
    except (TuneCnnError, OSError) as error:
        if _debug:
            raise
        Console(stderr=True).print(line(masked(_text(error))), soft_wrap=True)
        code = 2 if isinstance(error, InputError) or _is_of_a_path(error) else 1
    if interrupts.exit_code:
        Console(stderr=True).print(line(interrupts.farewell()), soft_wrap=True)
        interrupts.farewell = str
    sys.exit(interrupts.exit_code or code)
