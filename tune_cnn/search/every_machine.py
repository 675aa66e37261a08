"""Hold every machine of a cluster against the driver's, before the first trial."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tune_cnn.errors import InputError, StorageError
from tune_cnn.search import ray_cluster
from tune_cnn.search.places import SearchPlaces
from tune_cnn.search.preflight import Asked, Seen, Standard, faults, look, look_patiently, token_in
from tune_cnn.space.schema import Space

_LEAST_SECONDS_TO_LOOK = 60.0
_TIMES_AS_LONG = 5.0
"""As the driver's machine takes, another one may take: many files on a slow disk are no fault."""


@contextmanager
def machines_checked(space: Space, places: SearchPlaces) -> Iterator[Standard]:
    """Ask every other machine that runs trials what it has, and give what those are held against that join later.

    They are, for as long as the block lasts.

    Raises:
        InputError: one differs; a line for each machine and cause.
        StorageError: the images have stayed out of reach of this machine for some minutes.
    """
    with token_in(places.run, shared=places.storage is None) as token:
        asked = Asked(space.data_root, str(places.cache.folder), token)
        began = time.monotonic()
        here = look_patiently(asked)
        if here.unreached:
            raise StorageError(here.unreached)
        seconds = max(_LEAST_SECONDS_TO_LOOK, _TIMES_AS_LONG * (time.monotonic() - began))
        known = ray_cluster.machine_ids()
        answers = ray_cluster.on_other_machines(look, asked.as_json(), seconds=seconds)
        machines = {name: each if isinstance(each, str) else Seen(**each) for name, each in answers.items()}
        if found := faults(here, machines, asked):
            raise InputError(found)
        yield Standard(asked, here, known)
