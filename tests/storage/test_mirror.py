"""What a storage holds of a run: at any moment whole checkpoints and models, and in the end all of it."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from tests.search.driving import drive, go_on, made_space, open_session, start
from tune_cnn.errors import RunFolderError, StorageError
from tune_cnn.files import point_to
from tune_cnn.results.best_model import tensors_name
from tune_cnn.results.records import RunFolder, TrialFolder
from tune_cnn.results.trial_files import delete_weights, new_best
from tune_cnn.search.study import Study
from tune_cnn.storage.mirror import Mirror
from tune_cnn.storage.pull import epoch_here, epoch_there, pull, pull_model
from tune_cnn.storage.remote import Remote


class Failing(Remote):
    """A storage that is lost after so many writes and deletions."""

    left = 10**9

    def _spend(self) -> None:
        if self.left == 0:
            raise StorageError(f"{self.url}: lost")
        self.left -= 1

    def put(self, name: str, file: Path) -> None:
        self._spend()
        super().put(name, file)

    def write(self, name: str, data: bytes) -> None:
        self._spend()
        super().write(name, data)

    def delete(self, name: str) -> None:
        self._spend()
        super().delete(name)


@pytest.fixture
def remote() -> Failing:
    return Failing(f"memory://bucket-{uuid4().hex}/runs/made")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def keep_state(folder: TrialFolder, epoch: int) -> None:
    """Write a checkpoint and a best model as training does, made of text that tells the epoch."""
    data = f"tensors of epoch {epoch}".encode() * 100
    name = tensors_name(epoch, data)
    folder.last.mkdir(parents=True, exist_ok=True)
    (folder.last / name).write_bytes(data)
    state = {"epoch": epoch, "tensors": name, "best": {"epoch": epoch, "tensors": name}}
    part = folder.last / ".state.part"
    part.write_text(json.dumps(state))
    part.replace(folder.last / "state.json")
    for old in folder.last.glob("*.safetensors"):
        if old.name != name:
            old.unlink()
    with new_best(folder, epoch) as model:
        (model / "model.safetensors").write_bytes(data)
        (model / "model.json").write_text(json.dumps({"epoch": epoch}))


def listing(folder: Path) -> dict[str, bytes]:
    """All that is meant for others, links followed."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files if ".driver.lock" not in path.name}


def check_whole(folder: TrialFolder, epochs: set[int]) -> None:
    """The checkpoint and the model are each of one of the epochs, every byte of them."""
    epoch = epoch_here(folder)
    assert epoch in epochs
    name = json.loads((folder.last / "state.json").read_text())["tensors"]
    assert tensors_name(epoch, (folder.last / name).read_bytes()) == name
    told = json.loads((folder.best / "model.json").read_text())["epoch"]
    assert told in epochs
    assert (folder.best / "model.safetensors").read_bytes() == f"tensors of epoch {told}".encode() * 100


def test_a_run_comes_back_as_it_was_sent(run: RunFolder, remote: Failing, tmp_path: Path) -> None:
    session = open_session(made_space(tmp_path, overrides=("search.trials=3",)), run)
    drive(session)
    mirror = Mirror(run.path, remote)
    mirror.send(last=True)
    pull(remote, tmp_path / "back")
    sent, back = listing(run.path), listing(tmp_path / "back")
    study = sent.pop("study.db"), back.pop("study.db")
    assert back == sent
    assert (tmp_path / "back" / "best").resolve() == tmp_path / "back" / run.best.resolve().relative_to(run.path)
    assert len(study[1]) == len(study[0])
    again = Study.read(tmp_path / "back" / "study.db", session.space.search).records()
    assert again == list(session.records.values())


@pytest.mark.parametrize("writes", range(8))
def test_whenever_the_storage_is_lost_it_holds_whole_checkpoints(
    run: RunFolder, remote: Failing, tmp_path: Path, writes: int
) -> None:
    folder = run.trial(0)
    mirror = Mirror(run.path, remote, every_state=True)
    keep_state(folder, 1)
    mirror.send()
    keep_state(folder, 2)
    remote.left = writes
    with pytest.raises(StorageError):
        mirror.send()
    pull(remote.below("trials/0000"), tmp_path / "then")
    check_whole(TrialFolder(tmp_path / "then"), {1, 2})
    remote.left = 10**9
    mirror.send()
    pull(remote.below("trials/0000"), tmp_path / "later")
    check_whole(TrialFolder(tmp_path / "later"), {2})
    assert len([file for file in remote.files() if file.name.endswith(".safetensors")]) == 2


def test_a_model_that_arrived_in_part_is_no_model(run: RunFolder, remote: Failing, tmp_path: Path) -> None:
    keep_state(run.trial(0), 1)
    Mirror(run.path, remote).send()
    (weights,) = [file.name for file in remote.files() if file.name.endswith("model.safetensors")]
    remote.write(weights, b"something else")
    pull(remote, tmp_path / "back")
    assert not RunFolder(tmp_path / "back").trial(0).best.exists()


def test_the_best_model_is_fetched_by_the_name_it_has_at_home(run: RunFolder, remote: Failing, tmp_path: Path) -> None:
    for trial in (0, 1):
        keep_state(run.trial(trial), 1 + trial)
    point_to(run.best, run.trial(1).best)
    Mirror(run.path, remote).send()
    for name, epoch in (("best", 2), ("trials/0000/best", 1), ("trials/0001/best", 2)):
        folder = pull_model(f"{remote.url}/{name}", tmp_path / "model")
        assert json.loads((folder / "model.json").read_text())["epoch"] == epoch
        assert (folder / "model.safetensors").is_file()
    with pytest.raises(RunFolderError, match="/trials/0007/best: holds no model; give one such as"):
        pull_model(f"{remote.url}/trials/0007/best", tmp_path / "model")


def test_a_model_that_lies_there_as_files_is_fetched(remote: Failing, tmp_path: Path) -> None:
    remote.write("model.json", b"{}")
    remote.write("best.json", json.dumps({"folder": "../elsewhere"}).encode())
    assert [path.name for path in pull_model(remote.url, tmp_path / "model").glob("model*")] == ["model.json"]


def test_of_what_holds_no_model_nothing_is_fetched(
    run: RunFolder, remote: Failing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_state(run.trial(0), 1)
    point_to(run.best, run.trial(0).best)
    Mirror(run.path, remote).send()
    fetched: list[str] = []
    monkeypatch.setattr(Remote, "get", lambda _self, name, _to: fetched.append(name))
    with pytest.raises(RunFolderError, match="/runs/made: holds no model; give one such as"):
        pull_model(remote.url, tmp_path / "model")
    assert not fetched


def test_a_model_that_moves_on_while_it_is_asked_for_is_followed(
    run: RunFolder, remote: Failing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_state(run.trial(0), 1)
    mirror, read = Mirror(run.path, remote, every_state=True), Remote.read
    moved: list[str] = []
    mirror.send()

    def moving(self: Remote, name: str) -> bytes | None:
        if name == "model.json" and not moved:
            moved.append(name)
            keep_state(run.trial(0), 2)
            mirror.send()
        return read(self, name)

    monkeypatch.setattr(Remote, "read", moving)
    folder = pull_model(f"{remote.url}/trials/0000/best", tmp_path / "model")
    assert moved
    assert json.loads((folder / "model.json").read_text())["epoch"] == 2


def test_a_folder_that_is_fetched_anew_is_there_while_the_old_one_is_deleted(
    remote: Failing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.write("trial.log", b"new")
    folder = TrialFolder(tmp_path / "0000")
    folder.path.mkdir()
    folder.log.write_text("old")
    delete = shutil.rmtree
    seen: list[str] = []

    def deleting(path: Path, *, ignore_errors: bool = False) -> None:
        delete(path, ignore_errors=ignore_errors)
        seen.append(folder.log.read_text() if folder.log.exists() else "nothing")

    monkeypatch.setattr("tune_cnn.storage.pull.shutil.rmtree", deleting)
    pull(remote, folder.path)
    assert set(seen) == {"new"}
    assert [path.name for path in tmp_path.iterdir()] == ["0000"]


def test_losers_weights_go_from_the_storage_too(run: RunFolder, remote: Failing) -> None:
    folder = run.trial(0)
    keep_state(folder, 1)
    folder.log.write_text("a word")
    mirror = Mirror(run.path, remote)
    mirror.send()
    assert epoch_there(remote.below("trials/0000")) == 1
    delete_weights(folder)
    mirror.send()
    assert {file.name for file in remote.files()} == {"trials/0000/trial.log"}


def test_a_new_driver_deletes_what_is_gone_but_no_trial_of_another_machine(run: RunFolder, remote: Failing) -> None:
    keep_state(run.trial(0), 1)
    Mirror(run.path, remote).send()
    keep_state(run.trial(1), 1)
    delete_weights(run.trial(0))
    other = Remote(remote.url)
    other.write("trials/0002/last/state.json", b"{}")
    mirror = Mirror(run.path, remote)
    mirror.adopt([file for file in remote.files() if not file.name.startswith("trials/0002/")])
    mirror.send()
    held = {file.name.split("/")[1] for file in remote.files()}
    assert held == {"0001", "0002"}


def test_a_trial_that_is_left_to_another_machine_is_not_touched(run: RunFolder, remote: Failing) -> None:
    folder = run.trial(0)
    keep_state(folder, 1)
    mirror = Mirror(run.path, remote, every_state=True)
    mirror.send()
    mirror.leave("trials/0000/")
    before = {file.name for file in remote.files()}
    keep_state(folder, 2)
    mirror.send()
    delete_weights(folder)
    mirror.send()
    assert {file.name for file in remote.files()} == before
    mirror.take_back("trials/0000/", remote.files("trials/0000"))
    mirror.send()
    assert not remote.files()


def test_the_study_arrives_as_it_was_at_one_moment(run: RunFolder, remote: Failing, tmp_path: Path) -> None:
    session = open_session(made_space(tmp_path), run)
    job = start(session)
    go_on(session, job, 1, 0.5)
    mirror = Mirror(run.path, remote)
    with closing(sqlite3.connect(run.study)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM trials")
        mirror.send(last=True)
        writer.rollback()
    pull(remote, tmp_path / "back")
    (record,) = Study.read(tmp_path / "back" / "study.db", session.space.search).records()
    assert [epoch.epoch for epoch in record.epochs] == [1]


@pytest.mark.parametrize("target", ["../../etc", "/etc", "trials/../../x/best", "..", ".best-1/../.."])
def test_a_link_of_a_strangers_run_leads_nowhere(remote: Failing, tmp_path: Path, target: str) -> None:
    remote.write("space.yaml", b"name: x\n")
    remote.write("best.json", json.dumps({"folder": target, "files": {}}).encode())
    pull(remote, tmp_path / "back")
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["space.yaml"]


def test_a_strangers_run_cannot_be_written_elsewhere(remote: Failing, tmp_path: Path) -> None:
    remote.write("trials/0000/../../../outside", b"x")
    with pytest.raises(StorageError, match="leaves its folder by"):
        pull(remote, tmp_path / "inner" / "back")
    assert [path.name for path in tmp_path.rglob("*")] == ["inner"]
