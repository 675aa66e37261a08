from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.conftest import trial_config
from tune_cnn.data.cache import Cache
from tune_cnn.models.hub import TRIAL_ENVIRONMENT
from tune_cnn.progress import Patience
from tune_cnn.results.failures import Failure
from tune_cnn.results.records import RunFolder
from tune_cnn.search import worker
from tune_cnn.search.bridge import failure_message
from tune_cnn.storage.place import Share, machine_id


@pytest.mark.parametrize(
    ("home", "away"),
    [pytest.param("another", True, id="on-another-machine"), pytest.param(machine_id(), False, id="at-home")],
)
def test_a_trial_that_fails_before_its_first_epoch_tells_where_its_traceback_lies(
    home: str, away: bool, tmp_path: Path, shapes: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_given: Any, **_more: Any) -> None:
        raise ValueError("no such layer")

    told: list[dict[str, str]] = []
    monkeypatch.setattr("tune_cnn.search.worker.tune.report", told.append)  # there is no Ray to report to
    for name, value in TRIAL_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    share = Share(f"memory://bucket-{uuid4().hex}/runs/made", tmp_path / "run", home)
    folder, config = RunFolder(share.run).trial(0), trial_config(shapes).model_dump(mode="json")
    job = {"config": config, "folder": str(folder.path), "note": "", "expected_data": None, "told_epochs": 0}
    with pytest.raises(ValueError, match="no such layer"):
        worker.run_job(job, metric="val_accuracy", cache=cache, handed={}, patience=Patience(), work=fail, share=share)
    assert told == [{worker.MESSAGE: failure_message(Failure("ValueError: no such layer"), away=away)}]
    there = {file.name for file in share.remote(folder.path).files()}
    assert (folder.error.is_file(), "error.txt" in there) == (not away, away)
