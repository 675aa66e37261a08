"""Where a search reads from and writes to."""

from dataclasses import dataclass
from pathlib import Path

from tune_cnn.data.cache import Cache
from tune_cnn.results.records import RunFolder


@dataclass(frozen=True)
class SearchPlaces:
    """Where a search reads from and writes to."""

    run: RunFolder
    cache: Cache
    weights_dir: Path | None = None
    address: str | None = None
    """Of a Ray cluster; None starts Ray on this machine."""
    insecure_cluster: bool = False
    """Whether a cluster will do that lets in whoever reaches it."""
    storage: str | None = None
    """The address of the run in a storage; `run` is then the folder in which it is worked on."""
