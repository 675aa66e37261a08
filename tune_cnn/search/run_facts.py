"""run.json: what a run folder is about, and which calls have worked on it."""

from pydantic import BaseModel, ConfigDict, ValidationError

from tune_cnn.errors import RunFolderError
from tune_cnn.files import MOST_JSON_BYTES, read_file, write_whole
from tune_cnn.results.records import RunFolder
from tune_cnn.search.remedies import without_facts

FORMAT = 1
"""Of run folders: goes up when an older version must not go on with what a newer one has written."""


class StartingWeights(BaseModel):
    """The file that the trials of one backbone started from; both None for random weights."""

    model_config = ConfigDict(frozen=True, strict=True)

    file: str | None
    sha256: str | None


class Call(BaseModel):
    """What may differ from one call on a run folder to the next."""

    model_config = ConfigDict(frozen=True, strict=True)

    command: str
    weights: dict[str, StartingWeights]
    """By `BACKBONE WEIGHTS`."""
    data_root: str = ""
    started: str = ""
    versions: dict[str, str] = {}
    commit: str | None = None
    """Of the project that the space lies in; None outside a checkout."""
    device: str = ""
    machine: str = ""


class RunFacts(Call):
    """What run.json says of a search: what stays, its first call, and those that went on with it."""

    space_digest: str
    data: str
    """The fingerprint of the images."""
    seed: int
    format: int = 1
    images: dict[str, int] = {}
    """How many there were, by split; empty where an older version did not write it down."""
    classes: tuple[str, ...] = ()
    continued: tuple[Call, ...] = ()

    @property
    def latest(self) -> Call:
        """The latest call: what lies where may have changed since the first."""
        return self.continued[-1] if self.continued else self


def read_facts(folder: RunFolder) -> RunFacts:
    """Read run.json.

    Raises:
        RunFolderError: it is not there, or damaged.
    """
    try:
        return RunFacts.model_validate_json(read_file(folder.run, most_bytes=MOST_JSON_BYTES))
    except FileNotFoundError as error:
        raise RunFolderError(f"{folder.run}: no such file; give a run folder that `tune-cnn search` wrote") from error
    except OSError as error:
        raise RunFolderError(f"{folder.run}: cannot be read: {error.strerror}; {without_facts(folder)}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RunFolderError(
            f"{folder.run}: damaged ({where + ': ' if where else ''}{first['msg']}); {without_facts(folder)}"
        ) from error


def write_facts(folder: RunFolder, facts: RunFacts) -> None:
    """Write run.json whole."""
    write_whole(folder.run, facts.model_dump_json(indent=2) + "\n")
