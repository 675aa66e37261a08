"""Text for a terminal, whatever the names in it hold: no markup, no escape sequences."""

from pathlib import Path

from rich.text import Text


def visible(text: str) -> str:
    """Replace what is no visible mark, line breaks and tabs aside: a file's name must not move the cursor."""
    return "".join(mark if mark.isprintable() or mark in "\t\n" else "�" for mark in text)


def line(text: object) -> Text:
    """Give text that a console or a table shows as it is."""
    return Text(visible(str(text)))


def place(path: Path) -> str:
    """Give a path as a person at this working directory would write it: relative, or from `~`, or whole."""
    for base, start in ((Path.cwd(), Path()), (Path.home(), Path("~"))):
        if path.is_relative_to(base) and path != base:
            return str(start / path.relative_to(base))
    return str(path)
