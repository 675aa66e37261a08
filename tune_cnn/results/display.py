"""Text for a terminal or a table, whatever the names in it hold: no markup, no escape sequences."""

import re
import shlex
from pathlib import Path

from rich.text import Text

# C0 and C1 controls except tab and line break; what turns the direction of writing; halves of a character, which are
# what an undecodable file name is made of. All else may be part of a name, joiners and narrow spaces too.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """Replace what moves the cursor or turns the text round, line breaks and tabs aside: a name must do neither."""
    return _UNFIT.sub("�", text)


def line(text: object) -> Text:
    """Give text that a console or a table shows as it is."""
    return Text(visible(str(text)))


def place(path: Path) -> str:
    """Give a path as a person at this working directory would write it: relative, or from `~`, or whole."""
    for base, start in ((Path.cwd(), Path()), (Path.home(), Path("~"))):
        if path.is_relative_to(base) and path != base:
            return str(start / path.relative_to(base))
    return str(path)


def word(place: str) -> str:
    """Give a path as one word of a command: what `place` gave, or an address."""
    home = "~/" if place.startswith("~/") else ""
    return home + shlex.quote(place.removeprefix(home))  # a tilde in quotes is none


def clock_text(seconds: float) -> str:
    """Give a time as a clock shows it: 0:05, 12:40, 3:07:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
