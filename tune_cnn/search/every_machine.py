"""Hold every machine of a cluster against the driver's, before the first trial."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tune_cnn.search import ray_environment  # noqa: F401 - first, as Ray reads it when it is imported

# isort: split
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tune_cnn.errors import InputError
from tune_cnn.results.failures import failure_of
from tune_cnn.search.places import SearchPlaces
from tune_cnn.search.preflight import Asked, Seen, Standard, faults, look, token_in
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
    """
    with token_in(places.run, shared=places.storage is None) as token:
        asked = Asked(space.data_root, str(places.cache.folder), token)
        began = time.monotonic()
        here = Seen(**look(asked.as_json()))
        seconds = max(_LEAST_SECONDS_TO_LOOK, _TIMES_AS_LONG * (time.monotonic() - began))
        nodes = [node for node in ray.nodes() if node["Alive"]]
        answers = _ask_others(nodes, asked.as_json(), seconds)
        machines = {name: each if isinstance(each, str) else Seen(**each) for name, each in answers.items()}
        if found := faults(here, machines, asked):
            raise InputError(found)
        yield Standard(asked, here, frozenset(node["NodeID"] for node in nodes))


def _ask_others(
    nodes: list[dict[str, Any]], argument: Mapping[str, Any], seconds: float
) -> dict[str, dict[str, Any] | str]:
    """Let each other machine that runs trials look about, with its own version of `look`.

    Returns:
        What it saw, by the machine's name and address; or in words why it told nothing. Empty without other machines.
    """
    own = ray.get_runtime_context().get_node_id()
    remote = ray.remote(num_cpus=0, max_retries=0)(look)
    asked = {
        f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})": remote.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(dict(argument))
        for node in nodes
        if node["NodeID"] != own and node["Resources"].get("CPU")
    }
    until = time.monotonic() + seconds
    return {name: _answer(answer, seconds, until) for name, answer in asked.items()}


def _answer(answer: Any, seconds: float, until: float) -> dict[str, Any] | str:
    try:
        found: dict[str, Any] = ray.get(answer, timeout=max(0.0, until - time.monotonic()))
    except ray.exceptions.GetTimeoutError:
        return f"gave no answer within {seconds:.0f} seconds; see to it, or take it out of the cluster"
    except ray.exceptions.RayError as error:
        return f"cannot run tune-cnn ({failure_of(error).reason}); install the same version as on the driver's machine"
    return found
