"""Hold every machine of a cluster against the driver's, before the first trial."""

from tune_cnn.errors import InputError
from tune_cnn.search import ray_cluster
from tune_cnn.search.places import SearchPlaces
from tune_cnn.search.preflight import Asked, Seen, faults, look, token_in
from tune_cnn.space.schema import Space


def check_machines(space: Space, places: SearchPlaces) -> None:
    """Ask every other machine that runs trials what it has; nothing to do where there is none.

    Raises:
        InputError: one differs; a line for each machine and cause.
    """
    with token_in(places.run, shared=places.storage is None) as token:
        asked = Asked(space.data_root, str(places.cache.folder), token)
        answers = ray_cluster.on_other_machines(look, asked.as_json())
        if not answers:
            return
        machines = {name: each if isinstance(each, str) else Seen(**each) for name, each in answers.items()}
        if found := faults(Seen(**look(asked.as_json())), machines, asked):
            raise InputError(found)
