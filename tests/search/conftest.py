import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.search.on_cluster import Machines


@pytest.fixture(scope="module")
def machines() -> Iterator["Machines"]:
    """A cluster of this machine, without a machine for trials yet."""
    from tests.search.on_cluster import Machines  # imports Ray, which takes seconds and few tests want

    from ray.cluster_utils import Cluster  # isort: skip

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="tc-") as folder:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        patch.setenv("RAY_TMPDIR", folder)  # sockets' paths end at 107 letters
        cluster = Cluster(True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            yield Machines(cluster.address, cluster)
        finally:
            cluster.shutdown()
