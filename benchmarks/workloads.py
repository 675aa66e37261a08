"""The workloads of the table: what is searched, on how many images, and what is aimed at."""

from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.places import SPACES

VIEWS = 4
PX = 128
BACKBONES = ("tf_efficientnet_lite0", "mobilenetv3_large_100")


@dataclass(frozen=True)
class Workload:
    """One search that both programs run. `name` is that of its space in benchmarks/spaces."""

    name: str
    title: str
    trials: int
    epochs: int
    train: int
    """Training images at most; sizes are cut so that the whole table takes some 25 minutes on two cores."""
    val: int
    whole_target: float
    """How many times faster the whole search is to be than the plain program's."""
    warm_target: float | None = None
    """Likewise for an epoch once the caches stand; None where no two trials share enough for one."""
    px: int = PX

    @property
    def space(self) -> Path:
        """The file of its space."""
        return SPACES / f"{self.name}.yaml"

    @property
    def size(self) -> str:
        """Say in a few words how much is trained on what."""
        return f"{self.trials} x {self.epochs}, {self.train} + {self.val} images"


WORKLOADS = (
    Workload("head_only", "head only trained", 12, 12, 192, 64, whole_target=8, warm_target=50),
    Workload("last_stage", "last stage + head", 12, 12, 192, 64, whole_target=5, warm_target=10),
    Workload("uniform_depth", "freeze depth drawn uniformly", 8, 12, 128, 48, whole_target=2),
    Workload("everything", "everything trained", 4, 4, 128, 48, whole_target=1.1, warm_target=1.15),
)


@dataclass(frozen=True)
class Sizes:
    """How much the other rows of the table take."""

    workers: tuple[int, ...] = (0, 1, 2)
    """Of the plain program's DataLoader, tried before anything is timed."""
    gap_trials: int = 12
    plain_gap_trials: int = 5
    driver_trials: int = 1000
    driver_slots: int = 64
    ray_trials: int = 400
    ray_slots: int = 64
    worker_trials: int = 1000
    past_trials: int = 10_000
    suggestions: int = 30


QUICK = Sizes(
    workers=(0,),
    gap_trials=3,
    plain_gap_trials=3,
    driver_trials=30,
    driver_slots=8,
    ray_trials=12,
    ray_slots=4,
    worker_trials=20,
    past_trials=200,
    suggestions=5,
)


def quick(workload: Workload) -> Workload:
    """Cut a workload to seconds: for finding out whether the benchmark runs at all, its figures mean nothing."""
    return replace(workload, trials=2, epochs=2, train=40, val=20, px=64)
