"""The data sets that this process has opened last, for the next trial on its worker.

Reading tables, drawing splits and counting the pixels of masks takes longer than many an epoch, and comes out the same
for all trials of a search. Whether it would is seen by the names, sizes and times of all files below the data root.
"""

import hashlib
import os
from collections import OrderedDict
from pathlib import Path

from tune_cnn import progress
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import ImageData, open_local
from tune_cnn.data.fetch import located
from tune_cnn.sections.data import Data
from tune_cnn.sections.image import ImageConfig

_MOST = 2
"""Data sets: of their images only what the system keeps in its page cache is in memory. Where the cache cannot be used
all of them are, and then one has to do."""
_kept: OrderedDict[tuple[str, str, Cache], tuple[str, ImageData]] = OrderedDict()


def open_resident(data: Data, image: ImageConfig, *, cache: Cache, patient: bool = False) -> ImageData:
    """Open a data set as `open_data` does, or give it as it was opened before, if no file has changed since.

    Args:
        data: where the images are.
        image: how they are fitted.
        cache: where they are kept.
        patient: whether a search is under way, which outlives the loss of a storage; see `local_copy`.

    Raises:
        DataError: as `open_data` does.
        StorageError: as `open_data` does; StoreError if a patient one has lost its patience.
    """
    with located(data, cache, patient=patient) as here:
        return _opened(here, image, cache)


def _opened(data: Data, image: ImageConfig, cache: Cache) -> ImageData:
    try:
        stamp = _stamp(Path(data.root))
    except OSError:  # what cannot be looked into cannot be opened either, and that says why
        return open_local(data, image, cache=cache)
    key = (data.model_dump_json(), image.model_dump_json(), cache)
    before, kept = _kept.pop(key, ("", None))
    opened = kept if kept is not None and before == stamp else open_local(data, image, cache=cache)
    _kept[key] = (stamp, opened)
    while len(_kept) > (1 if opened.note else _MOST):
        _kept.popitem(last=False)
    return opened


def _stamp(root: Path) -> str:
    """Digest names, sizes and times of all files below a folder; links to folders are followed once."""
    digest, waiting, seen = hashlib.sha256(), [str(root)], set[str]()
    while waiting:
        folder = waiting.pop()
        progress.sign()
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir():
                    waiting.append(entry.path)
                    digest.update(entry.path.encode(errors="surrogateescape") + b"\n")
                else:
                    status = entry.stat() if entry.is_file() else entry.stat(follow_symlinks=False)
                    about = f"{entry.path}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ino}\n"
                    digest.update(about.encode(errors="surrogateescape"))
    return digest.hexdigest()
