"""What a search of the chaos suite is about: a few tiny images and a space, and what may differ between searches."""

from dataclasses import dataclass
from pathlib import Path

from tests.data.pictures import jpeg, put, seed_of

SPACE = """\
name: chaos
data: {kind: folders, root: images, splits: {train: train, val: val, test: test}}
image: {px: 16}
model:
  backbone: {kind: custom, layers: [{conv: 2, pool: 2}, {conv: 2}]}
  weights: none
  head: {dropout: {range: [0.0, 0.5]}}
training:
  epochs: 5
  batch_size: {choice: [4, 8]}
  optimizer: {kind: adam, lr: {range: [1e-5, 1e-1], log: true}}
  schedule: {kind: constant}
augment: none
search:
  {trials: 7, seed: 3, sampler: tpe, random_trials: 3, keep: 2, asha: {grace_epochs: 2, reduction: 3},
   finals: {top: 2, repeats: 1}}
"""


@dataclass(frozen=True)
class Kind:
    """A kind of search."""

    name: str
    sets: tuple[str, ...] = ()
    slots: int = 1
    always_alike: bool = True
    """Whether its leaderboard depends on nothing but the space: with several trials at a time, the sampler and ASHA
    see what has ended by then, and that depends on the order of events."""


ONE_BY_ONE = Kind("one-by-one")
AT_RANDOM = Kind("three-at-random", ("search.sampler=random", "search.asha=null", "search.finals=null"), slots=3)
TOGETHER = Kind("three-together", ("search.trials=9",), slots=3, always_alike=False)
KINDS = (ONE_BY_ONE, AT_RANDOM, TOGETHER)


@dataclass(frozen=True)
class Ground:
    """Where searches are run: images, a space file, a cache that all of them share."""

    path: Path

    @classmethod
    def make(cls, path: Path) -> "Ground":
        for part, images in {"train": 4, "val": 3, "test": 3}.items():
            for name in (f"{part}/{kind}/{number}.jpg" for kind in ("cat", "dog") for number in range(images)):
                put(path / "images" / name, jpeg(seed_of(name), (12, 10)))
        (path / "chaos.yaml").write_text(SPACE)
        return cls(path)

    def search(self, run: Path, kind: Kind) -> tuple[str, ...]:
        """The command that begins a search; given again, it goes on."""
        sets = [word for text in kind.sets for word in ("--set", text)]
        places = ["--data", str(self.path / "images"), "--out", str(run.parent), "--name", run.name]
        return ("search", str(self.path / "chaos.yaml"), *places, *self._cache, *sets)

    def resume(self, run: Path) -> tuple[str, ...]:
        return ("resume", str(run), *self._cache)

    def evaluate(self, run: Path) -> tuple[str, ...]:
        return ("evaluate", str(run / "best"), "--json", *self._cache)

    @staticmethod
    def leaderboard(run: Path) -> tuple[str, ...]:
        return ("leaderboard", str(run), "--json")

    @property
    def _cache(self) -> tuple[str, str]:
        return ("--cache-dir", str(self.path / "cache"))
