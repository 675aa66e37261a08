"""What several tests need: a small generated data set, made once, a config that trains on it in seconds, a command."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tune_cnn import cli
from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.sample import write_sample

# The same examples each time: a change alone turns the suite red. `make fuzz` draws others.
settings.register_profile("suite", derandomize=True)
settings.load_profile("suite")

# Side by side, the tests end together if what takes long begins early. The longest first; a file that is missing here
# is no error, it only waits for these.
LONGEST_FIRST = (
    "tests/search/test_search.py",
    "tests/chaos/test_chaos.py",
    "tests/test_trial.py",
    "tests/search/test_cluster_machines.py",
    "tests/storage/test_search_in_storage.py",
    "tests/data/test_cache_kills.py",
    "tests/chaos/test_fuzz.py",
    "tests/storage/test_place.py",
    "tests/storage/test_kept.py",
)


@pytest.hookimpl(trylast=True)  # once those that are not to run are out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, then those with the most tests."""
    tests = Counter(item.nodeid.partition("::")[0] for item in items)

    def place(item: pytest.Item) -> tuple[int, int]:
        file = item.nodeid.partition("::")[0]
        return LONGEST_FIRST.index(file) if file in LONGEST_FIRST else len(LONGEST_FIRST), -tests[file]

    items.sort(key=place)  # stable: within a file, and among files alike, as they were collected


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated data set of five classes in class folders."""
    folder = tmp_path_factory.mktemp("generated") / "shapes"
    write_sample("shapes", folder, images_per_class={"train": 6, "valid": 3, "test": 3})
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """A cache for decoded images, shared by all tests as it is by all trials."""
    return Cache(tmp_path_factory.mktemp("cache"))


class Outcome:
    """What a command did: its exit code and what it printed."""

    def __init__(self, code: object, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def tune_cnn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cache: Cache, tmp_path: Path) -> Any:
    """Run a command within this process, in a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.folder))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["tune-cnn", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return Outcome(ended.value.code, printed.out, printed.err)

    return run


def trial_config(root: Path, **sections: Any) -> TrialConfig:
    """A small network from random weights on small images; whole sections can be replaced."""
    whole: dict[str, Any] = {
        "name": "made",
        "data": {"kind": "folders", "root": str(root), "splits": {"train": "train", "val": "valid", "test": "test"}},
        "image": {"px": 32},
        "model": {"backbone": "test_resnet", "weights": "none", "freeze": {"depth": 0.5}, "head": {"dropout": 0.2}},
        "training": {"epochs": 3, "batch_size": 8, "optimizer": {"kind": "adam", "lr": 1e-3}},
        "augment": "light",
        "seed": 1,
    }
    return TrialConfig.model_validate(whole | sections)
