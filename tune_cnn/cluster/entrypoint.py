"""What a RayJob runs: a misspelt option would be told by the job alone, once its machines are paid for."""

import shlex
from collections.abc import Iterator, Mapping, Sequence

from tune_cnn.cluster.report import Report
from tune_cnn.config_faults import shown
from tune_cnn.config_shape import Location, nearest

Commands = Mapping[str, Sequence[str]]
"""The names of tune-cnn's commands, and the options that each has."""
_PROGRAM = "tune-cnn"
_EVERYWHERE = ("--debug", "--help", "--version")


def check_entrypoint(report: Report, location: Location, commands: Commands) -> None:
    """Note a command or option that tune-cnn does not have."""
    entrypoint = report.needed(*location, example="tune-cnn search SPACE --address auto")
    if not isinstance(entrypoint, str) or report.is_open(entrypoint):
        return
    try:
        calls = list(_calls(entrypoint))
    except ValueError as error:  # a quote that is not closed
        report.fault(location, f"{shown(entrypoint)} is no command line ({error}); close the quote")
        return
    for words in calls:
        for text in _faults(words, commands):
            report.fault(location, text)


def _calls(line: str) -> Iterator[list[str]]:
    """Give the words behind each `tune-cnn` of a shell's line, as far as the next command.

    Raises:
        ValueError: a quote is not closed.
    """
    line = line.replace("\\\n", " ").replace("\n", " ; ")  # each line is a command, unless it goes on in the next
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] | None = None
    for token in lexer:
        if set(token) <= set("();<>|&"):
            if words is not None:
                yield words
            words = None
        elif words is not None:
            words.append(token)
        elif token.rpartition("/")[2] == _PROGRAM:
            words = []
    if words is not None:
        yield words


def _faults(words: Sequence[str], commands: Commands) -> Iterator[str]:
    name, *rest = [word for word in words if word not in _EVERYWHERE] or [""]
    if not name or name.startswith("$"):
        return
    if name not in commands:
        close = nearest(name, list(commands))
        yield f"tune-cnn {name}: no such command; " + (f"did you mean {close!r}?" if close else "write search")
        return
    for word in rest:
        option = word.partition("=")[0]
        if option.startswith("--") and len(option) > 2 and option not in commands[name]:
            close = nearest(option, list(commands[name]))
            hint = f"did you mean {close!r}?" if close else f"known here: {', '.join(commands[name])}"
            yield f"{option}: no option of tune-cnn {name}; {hint}"
