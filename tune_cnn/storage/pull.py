"""Brings what `Mirror` has sent back into a folder of this machine."""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from glob import escape
from pathlib import Path

from tune_cnn.errors import RunFolderError, StorageError
from tune_cnn.files import parse_json, point_to, sync_all
from tune_cnn.results.best_model import BEST, CARD, STATE
from tune_cnn.results.records import TrialFolder
from tune_cnn.storage.claim import DRIVERS
from tune_cnn.storage.mirror import POINTER
from tune_cnn.storage.names import check_names
from tune_cnn.storage.remote import Remote, RemoteFile, side_by_side

_MODEL = re.compile(r"\.best-[\w-]+|(trials|finals)/[\w-]+/best")
_ATTEMPTS = 5
Wanted = Callable[[str], bool]


def everything(_name: str) -> bool:
    """Whether an object is wanted: each one is."""
    return True


def is_table(name: str) -> bool:
    """Whether an object of a run is all that a leaderboard needs."""
    return name in {"study.db", "space.yaml", "run.json"}


def pull(remote: Remote, folder: Path, wanted: Wanted = everything) -> list[RemoteFile]:
    """Let a folder be what the storage has; whatever it was before is gone.

    A reader finds the old one or the new one, each of them whole, and for a moment between the two none.

    Args:
        remote: what a mirror has sent; it may be at it still.
        folder: on this machine.
        wanted: which objects, by name.

    Returns:
        What the storage listed.

    Raises:
        StorageError: it cannot be read, or a name in it would leave the folder.
        OSError: the disk is full or cannot be written.
    """
    with fetched(remote, folder, wanted) as (part, files):
        old = part.with_suffix(".old.part")
        with suppress(FileNotFoundError):
            folder.rename(old)
        part.rename(folder)
        shutil.rmtree(old, ignore_errors=True)  # last: it takes long
    return files


@contextmanager
def fetched(remote: Remote, folder: Path, wanted: Wanted = everything) -> Iterator[tuple[Path, list[RemoteFile]]]:
    """Give a temporary folder beside another one, to be renamed, with what the storage has, and what that listed.

    Raises: as `pull` does.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        files = _pull_insistently(part, remote, wanted)
        part.chmod(0o755)
        sync_all(part)
        yield part, files
    finally:
        shutil.rmtree(part, ignore_errors=True)


def sweep_parts_of(folder: Path) -> None:
    """Delete what fetches of a folder left that were killed; nobody may be fetching it now."""
    for end in (".part", ".old.part"):
        for part in folder.parent.glob(f".{escape(folder.name)}.{'?' * 8}{end}"):
            shutil.rmtree(part, ignore_errors=True)


def pull_model(url: str, folder: Path) -> Path:
    """Fetch a model: the best one of a run or a trial in a storage, or one that lies there as files.

    Args:
        url: of the model; it may move on to a better one meanwhile.
        folder: on this machine; whatever it was before is gone.

    Returns:
        The folder.

    Raises:
        StorageError: the storage cannot be read, or a name in it would leave the folder.
        RunFolderError: there is no model.
        OSError: the disk is full or cannot be written.
    """
    tried = ""
    for _ in range(_ATTEMPTS):
        remote = _followed(Remote(url))
        if remote.url == tried:
            break
        tried = remote.url
        if remote.read(CARD) is None:  # nor is anything fetched: it may be a whole run, or a bucket
            continue
        try:
            pull(remote, folder)
        except StorageError as error:
            if not _is_gone(error) or _followed(Remote(url)).url == tried:
                raise
        if (folder / CARD).is_file():
            return folder
    raise RunFolderError(f"{url}: holds no model; give one such as s3://BUCKET/PREFIX/NAME/best")


def epoch_there(remote: Remote) -> int:
    """Say after which epoch the checkpoint of a trial is that a storage holds; 0 if there is none.

    Raises:
        StorageError: the storage cannot be read.
    """
    return max(_epoch(remote.read(f"last/{name}")) for name in (STATE, f"fold-1/{STATE}"))


def epoch_here(folder: TrialFolder) -> int:
    """Say after which epoch the checkpoint of a trial is that this machine holds; 0 if there is none."""
    places = (folder.last / STATE, folder.last / "fold-1" / STATE)
    return max(_epoch(place.read_bytes() if place.is_file() else None) for place in places)


def _epoch(state: bytes | None) -> int:
    try:
        return int(parse_json(state)["epoch"]) if state else 0
    except (ValueError, OverflowError, KeyError, TypeError):
        return 0


def _followed(remote: Remote) -> Remote:
    """Give the folder that a link in a storage leads to: of a run to its best trial, and of that to its best epoch."""
    for _ in ("run", "trial"):
        above, _slash, name = remote.url.rpartition("/")
        pointer = Remote(above).read(f"{name}{POINTER}") if name == BEST else None
        target = _told_folder(pointer) if pointer else None
        if target is None:
            break
        remote = Remote(f"{above}/{target}")
    return remote


def _told_folder(pointer: bytes) -> str | None:
    """Give the model that an object names; None where it is damaged or leads elsewhere."""
    try:
        folder = str(parse_json(pointer)["folder"])
    except (ValueError, KeyError, TypeError):
        return None
    return folder if _MODEL.fullmatch(folder) else None


def _pull_insistently(part: Path, remote: Remote, wanted: Wanted) -> list[RemoteFile]:
    """Fetch, and begin anew if something goes meanwhile: whoever sends there deletes what was listed a moment ago."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return _pull_into(part, remote, wanted)
        except StorageError as error:
            if not _is_gone(error):
                raise
        for path in part.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return _pull_into(part, remote, wanted)


def _is_gone(error: StorageError) -> bool:
    return isinstance(error.__cause__, FileNotFoundError)


def _pull_into(part: Path, remote: Remote, wanted: Wanted) -> list[RemoteFile]:
    files = remote.files()
    names = [file.name for file in files if wanted(file.name)]
    # best/ is the same model once more, for people.
    names = [name for name in names if not name.startswith((DRIVERS, f"{BEST}/"))]
    check_names(remote.url, names)
    for parent in {(part / name).parent for name in names}:
        parent.mkdir(parents=True, exist_ok=True)
    side_by_side(partial(_get, remote, part), names)
    _make_links(part, [name for name in names if Path(name).name == f"{BEST}{POINTER}"])
    return files


def _get(remote: Remote, part: Path, name: str) -> None:
    remote.get(name, part / name)


def _make_links(part: Path, pointers: Sequence[str]) -> None:
    """Turn objects that stand for links into links, to whole models alone; trials before what names them."""
    for name in sorted(pointers, key=lambda name: -name.count("/")):
        pointer = part / name
        target = _target(pointer)
        pointer.unlink()
        if target is not None:
            point_to(pointer.with_name(BEST), target)


def _target(pointer: Path) -> Path | None:
    """Give the whole model that an object names; None where it is damaged, incomplete or elsewhere."""
    try:
        told = pointer.read_bytes()
        if (folder := _told_folder(told)) is None:
            return None
        model, body = pointer.parent / folder, parse_json(told)
        sound = all(_sha256(model / Path(name).name) == digest for name, digest in body["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return model if sound and model.exists() else None


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
