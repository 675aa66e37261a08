"""What keeps a machine from joining a search, and what it is told to do."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tune_cnn.data.cache import Cache
from tune_cnn.data.fetch import local_copy
from tune_cnn.errors import StorageError
from tune_cnn.results.records import RunFolder
from tune_cnn.search.preflight import Asked, Seen, Standard, faults, look, token_in
from tune_cnn.storage.remote import Remote

ASKED = Asked("/data/photos", "/home/me/.cache/tune-cnn", "/shared/runs/photos/.token")
HERE = Seen({"python": "3.11.9", "torch": "2.15.0"}, "d" * 64, "", data_gb=3.0, free_gb=50.0, sees_run=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param(
            {"versions": {"python": "3.11.9", "torch": "2.14.1"}}, "torch 2.14.1, but 2.15.0 on", id="version"
        ),
        pytest.param({"versions": {"python": "3.11.9"}}, "torch none, but 2.15.0 on", id="not-installed"),
        pytest.param({"data": "e" * 64}, "holds other files (eeeeeeeeeeee) than on the driver's", id="other-data"),
        pytest.param({"data": "", "data_fault": "no such folder"}, "no such folder; let --data", id="no-data"),
        pytest.param({"free_gb": 0.2}, "0.2 GB are free on the disk of /home/me/.cache/tune-cnn", id="full-disk"),
        pytest.param({"sees_run": False}, "does not see /shared/runs/photos; let --out", id="out-is-not-shared"),
    ],
)
def test_a_machine_that_differs_is_named_with_what_to_do(changes: dict[str, Any], said: str) -> None:
    (fault,) = faults(HERE, {"one (10.0.0.1)": HERE, "two (10.0.0.2)": replace(HERE, **changes)}, ASKED)
    assert fault.startswith("machine two (10.0.0.2): ")
    assert said in fault


def test_every_fault_of_every_machine_is_told_at_once() -> None:
    bad = replace(HERE, free_gb=0.0, sees_run=False)
    assert len(faults(HERE, {"a": bad, "b": "gave no answer", "c": HERE}, ASKED)) == 3


def test_images_of_a_storage_need_room_on_every_machine() -> None:
    asked = replace(ASKED, data_root="s3://bucket/photos")
    (fault,) = faults(HERE, {"a": replace(HERE, free_gb=3.5)}, asked)
    assert "where 4.0 GB are needed" in fault
    assert not faults(HERE, {"a": replace(HERE, free_gb=3.5)}, ASKED)


def test_images_that_a_machine_has_fetched_already_need_no_room() -> None:
    asked = replace(ASKED, data_root="s3://bucket/photos")
    assert not faults(HERE, {"a": replace(HERE, free_gb=1.5, has_images=True)}, asked)


def test_images_that_were_fetched_or_are_being_fetched_are_known_to_be_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Remote(f"memory://bucket-{tmp_path.name}/photos")
    remote.write("a.png", b"a photo")
    asked = Asked(remote.url, str(tmp_path / "cache"), None)
    assert not look(asked.as_json())["has_images"]
    seen: list[bool] = []

    def look_meanwhile(self: Remote, name: str, to: Path) -> None:
        seen.append(look(asked.as_json())["has_images"])
        to.write_bytes(b"a photo")

    monkeypatch.setattr(Remote, "get", look_meanwhile)
    local_copy(remote.url, Cache(tmp_path / "cache"))
    assert seen == [True]
    assert look(asked.as_json())["has_images"]


def test_a_machine_that_joins_later_is_held_against_the_drivers(shapes: Path, tmp_path: Path) -> None:
    asked = Asked(str(shapes), str(tmp_path), None)
    here = Seen(**look(asked.as_json()))
    other = replace(here, versions={**here.versions, "ray": "1.0"})
    misfit = Standard(asked, other, frozenset()).misfit("id")
    assert misfit is not None
    assert re.fullmatch(r"\S+: ray \S+, but 1.0 on the driver's; .*", misfit.reason)
    assert (misfit.blame, misfit.machine) == ("machine", "id")
    assert not Standard(asked, other, frozenset({"id"})).misfit("id")  # it was asked at the start
    assert not Standard(asked, here, frozenset()).misfit("id")
    assert not Standard(asked, other, frozenset()).misfit("id")  # it was found fit, and is not asked again


@dataclass
class Lost:
    """A storage that does not answer the first few times."""

    left: int
    cause: Exception | None = None
    asked: int = 0

    def answers(self) -> None:
        self.asked += 1
        self.left -= 1
        if self.left >= 0:
            raise StorageError("s3://bucket: cannot be reached") from self.cause


@pytest.mark.parametrize(
    ("lost", "blame", "asked"),
    [
        pytest.param(Lost(2), None, 3, id="for-a-moment"),
        pytest.param(Lost(9), "outage", 4, id="for-long"),
        pytest.param(Lost(9, OSError("reset by peer")), "outage", 4, id="connection-cut"),
        pytest.param(Lost(9, PermissionError("403")), "machine", 1, id="machine-without-credentials"),
        pytest.param(Lost(9, ImportError("s3fs")), "machine", 1, id="machine-without-the-package"),
    ],
)
def test_a_machine_that_joins_while_the_storage_is_lost_is_not_blamed(
    lost: Lost, blame: str | None, asked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Remote(f"memory://bucket-{uuid4().hex}/photos")
    remote.write("a.png", b"a photo")
    question = Asked(remote.url, str(tmp_path), None)
    here = Seen(**look(question.as_json()))
    monkeypatch.setattr("tune_cnn.search.preflight._WAITS_SECONDS", (0.0,) * 3)
    monkeypatch.setattr(Remote, "answers", lambda _self: lost.answers())
    misfit = Standard(question, here, frozenset()).misfit("id")
    assert (misfit.blame if misfit else None) == blame
    assert not misfit or "s3://bucket: cannot be reached" in misfit.reason
    assert lost.asked == asked


def test_a_machine_sees_itself(shapes: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with token_in(run, shared=True) as token:
        asked = Asked(str(shapes), str(tmp_path / "cache"), token)
        seen = Seen(**look(asked.as_json()))
        assert not faults(seen, {"itself": Seen(**look(asked.as_json()))}, asked)
        assert seen.data_gb > 0
    assert not Seen(**look(asked.as_json())).sees_run
    assert not list(tmp_path.iterdir())
    (shapes.parent / "other").mkdir()
    other = Seen(**look(replace(asked, data_root=str(shapes.parent / "other"), token=None).as_json()))
    assert other.data != seen.data


def test_data_that_cannot_be_seen_is_a_fault(tmp_path: Path) -> None:
    asked = Asked(str(tmp_path / "nothing"), str(tmp_path), None)
    seen = Seen(**look(asked.as_json()))
    assert "nothing" in seen.data_fault
    assert len(faults(HERE, {"a": replace(seen, versions=HERE.versions)}, asked)) == 1
