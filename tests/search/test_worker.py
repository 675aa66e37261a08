import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.conftest import trial_config
from tests.search.stub_trial import epoch_of, facts_of
from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.models.hub import TRIAL_ENVIRONMENT
from tune_cnn.progress import Patience
from tune_cnn.results.failures import Failure
from tune_cnn.results.records import RunFolder, TrialFolder
from tune_cnn.search import worker
from tune_cnn.search.bridge import failure_message
from tune_cnn.storage.place import Share, machine_id


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What a worker of this process tells; there is no Ray to report to."""
    heard: list[dict[str, str]] = []
    monkeypatch.setattr("tune_cnn.search.worker.tune.report", heard.append)
    for name, value in TRIAL_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return heard


def test_what_was_read_back_is_told_with_the_first_epoch_of_each_phase(
    tmp_path: Path, shapes: Path, cache: Cache, told: list[dict[str, str]]
) -> None:
    def two_phases(config: TrialConfig, folder: TrialFolder, *, on_epoch: Any, on_read_back: Any, **_more: Any) -> None:
        for phase, epochs in (("warm_up", (1, 2)), ("train", (3, 4))):
            on_read_back({"observed": {"phase": phase}})
            for number in epochs:
                on_epoch(epoch_of(config, number), facts_of(config), 100.0)

    config = trial_config(shapes).model_dump(mode="json")
    job = {"config": config, "folder": str(tmp_path), "note": "", "told_epochs": 0, "expected_data": None}
    worker.run_job(job, metric="val_accuracy", cache=cache, handed={}, patience=Patience(), work=two_phases)
    messages = [json.loads(each[worker.MESSAGE]) for each in told]
    assert [each.get("read_back") for each in messages] == [
        {"observed": {"phase": "warm_up"}},
        None,
        {"observed": {"phase": "train"}},
        None,
    ]


@pytest.mark.parametrize(
    ("home", "away"),
    [pytest.param("another", True, id="on-another-machine"), pytest.param(machine_id(), False, id="at-home")],
)
def test_a_trial_that_fails_before_its_first_epoch_tells_where_its_traceback_lies(
    home: str, away: bool, tmp_path: Path, shapes: Path, cache: Cache, told: list[dict[str, str]]
) -> None:
    def fail(*_given: Any, **_more: Any) -> None:
        raise ValueError("no such layer")

    share = Share(f"memory://bucket-{uuid4().hex}/runs/made", tmp_path / "run", home)
    folder, config = RunFolder(share.run).trial(0), trial_config(shapes).model_dump(mode="json")
    job = {"config": config, "folder": str(folder.path), "note": "", "expected_data": None, "told_epochs": 0}
    with pytest.raises(ValueError, match="no such layer"):
        worker.run_job(job, metric="val_accuracy", cache=cache, handed={}, patience=Patience(), work=fail, share=share)
    assert told == [{worker.MESSAGE: failure_message(Failure("ValueError: no such layer"), away=away)}]
    there = {file.name for file in share.remote(folder.path).files()}
    assert (folder.error.is_file(), "error.txt" in there) == (not away, away)
