"""The data sets that this process has opened last, for the next trial on its worker.

Reading tables, drawing splits and counting the pixels of masks takes longer than many an epoch, and comes out the same
for all trials of a search. Whether it would is seen by the names, sizes and times of all files below the data root.
"""

import hashlib
import os
from collections import OrderedDict
from pathlib import Path

from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import ImageData, open_data
from tune_cnn.sections.data import Data
from tune_cnn.sections.image import ImageConfig

_MOST = 2
"""Data sets: of their images only what the system keeps in its page cache is in memory. Where the cache cannot be used
all of them are, and then one has to do."""
_kept: OrderedDict[tuple[str, str, Cache], tuple[str, ImageData]] = OrderedDict()


def open_resident(data: Data, image: ImageConfig, *, cache: Cache) -> ImageData:
    """Open a data set as `open_data` does, or give it as it was opened before, if no file has changed since.

    Raises:
        DataError: as `open_data` does.
    """
    try:
        stamp = _stamp(Path(data.root))
    except OSError:  # what cannot be looked into cannot be opened either, and that says why
        return open_data(data, image, cache=cache)
    key = (data.model_dump_json(), image.model_dump_json(), cache)
    before, kept = _kept.pop(key, ("", None))
    opened = kept if kept is not None and before == stamp else open_data(data, image, cache=cache)
    _kept[key] = (stamp, opened)
    while len(_kept) > (1 if opened.note else _MOST):
        _kept.popitem(last=False)
    return opened


def _stamp(root: Path) -> str:
    """Digest names, sizes and times of all files below a folder; links to folders are followed once."""
    digest, waiting, seen = hashlib.sha256(), [str(root)], set[str]()
    while waiting:
        folder = waiting.pop()
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
