"""Whose a run in a storage is, at the moments when that is hard to say: two at once, a kill, a machine that slept."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread, current_thread
from uuid import uuid4

import pytest

from tune_cnn.errors import RunFolderError, StorageError
from tune_cnn.results.records import RunFolder
from tune_cnn.search.brought import brought, working_folder
from tune_cnn.search.driver_lock import driver_lock
from tune_cnn.storage.claim import DRIVERS, Claim, HeldRemote, Hold, mark, read_claim
from tune_cnn.storage.mirror import Mirror
from tune_cnn.storage.remote import Remote


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Remote:
    """A run that another machine has worked on, and a machine that has not: a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    remote = Remote(f"memory://bucket-{uuid4().hex}/made")
    remote.write("study.db", b"as fetched")
    take_over(remote, number=1)
    return remote


def take_over(remote: Remote, *, number: int) -> None:
    """Let another driver have worked on a run, and end."""
    claim = Claim(mark=uuid4().hex, host="another", pid=1, at_work=False, seconds=float(number), process=f"p{number}")
    remote.write(f"{DRIVERS}{number:06d}.json", json.dumps(asdict(claim)).encode())


def test_of_two_that_fetch_a_run_at_once_the_slower_leaves_the_folder_alone(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_fetches, second_has_looked, first_is_at_work, files = Event(), Event(), Event(), Remote.files

    def listed(self: Remote, under: str = "") -> object:
        found = files(self, under)
        if under:  # whose it is
            if current_thread() is second:
                second_has_looked.set()
        elif current_thread() is first:  # to fetch it
            first_fetches.set()
            second_has_looked.wait(60)
        else:
            first_is_at_work.wait(60)
        return found

    monkeypatch.setattr(Remote, "files", listed)
    folders: list[Path] = []
    first, second = (Thread(target=lambda: folders.append(brought(remote.url, lambda _: None))) for _ in range(2))
    first.start()
    first_fetches.wait(60)
    second.start()
    first.join(60)
    run = RunFolder(folders[0])
    with driver_lock(run):
        run.study.write_bytes(b"as the first goes on")
        first_is_at_work.set()
        second.join(60)
        assert run.study.read_bytes() == b"as the first goes on"
        assert run.lock.exists()
    assert folders == [run.path] * 2
    assert [path.name for path in run.path.parent.iterdir() if path.is_dir()] == ["made"]


def test_a_folder_that_a_driver_works_in_is_not_put_aside(remote: Remote) -> None:
    run = RunFolder(brought(remote.url, lambda _: None))
    take_over(remote, number=2)
    with driver_lock(run), pytest.raises(RunFolderError, match="another search is at work in this folder"):
        brought(remote.url, lambda _: None)
    assert run.study.exists()
    said: list[str] = []
    brought(remote.url, said.append)
    assert "put aside as made.before-1" in said[0]
    assert not RunFolder(run.path.with_name("made.before-1")).driver.exists()


def test_a_kill_while_a_run_is_fetched_leaves_nothing_that_is_taken_for_outdated(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tune_cnn.search.brought.mark", killed)
        with pytest.raises(KeyboardInterrupt):
            brought(remote.url, lambda _: None)
    for name in (".made.abcd1234.part", ".made.other.abcd1234.part"):  # a kill leaves its own; another run's is at it
        (working_folder(remote.url).parent / name).mkdir()
    said: list[str] = []
    run = RunFolder(brought(remote.url, said.append))
    assert run.study.read_bytes() == b"as fetched"
    assert not any("put aside" in text for text in said)
    assert {path.name for path in run.path.parent.iterdir() if path.is_dir()} == {"made", ".made.other.abcd1234.part"}


@dataclass
class Clocks:
    """Stands for the module `time`: a machine that can be put to sleep."""

    since_1970: float = 1e9
    steady: float = 100.0

    def time(self) -> float:
        return self.since_1970

    def monotonic(self) -> float:
        return self.steady

    def sleep(self, seconds: float) -> None:
        self.since_1970 += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr("tune_cnn.storage.claim.time", clocks)
    return clocks


@pytest.fixture
def hold(remote: Remote, tmp_path: Path, clocks: Clocks) -> Hold:
    """The hold of this machine, whose sign was heard."""
    begun = Remote(f"{remote.url}-2")
    mark(tmp_path / "run", begun.url)
    hold = Hold.take(begun, tmp_path / "run")
    hold()
    return hold


def test_a_driver_whose_machine_slept_looks_whose_the_run_is_before_it_sends(hold: Hold, clocks: Clocks) -> None:
    take_over(hold.remote, number=2)
    hold()  # it has just looked
    clocks.sleep(200)
    with pytest.raises(RunFolderError, match=r"a search on another \(process 1\) has taken this run over"):
        hold()


def test_a_round_that_was_interrupted_by_sleep_does_not_overwrite_what_another_driver_did(
    hold: Hold, clocks: Clocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Remote.put

    def asleep(self: Remote, name: str, file: Path) -> None:
        put(self, name, file)
        if name == "a.csv":
            clocks.sleep(200)
            take_over(hold.remote, number=2)
            hold.remote.write("study.db", b"of another")

    monkeypatch.setattr(Remote, "put", asleep)
    (tmp_path / "run" / "a.csv").write_text("a")
    (tmp_path / "run" / "study.db").write_bytes(b"")
    mirror = Mirror(tmp_path / "run", HeldRemote(hold))
    with pytest.raises(RunFolderError, match="has taken this run over"):
        mirror.send()
    assert hold.remote.read("study.db") == b"of another"


@pytest.mark.parametrize("change", ["put", "write", "delete"])
def test_nothing_is_changed_in_a_run_that_is_anothers_by_now(
    hold: Hold, clocks: Clocks, tmp_path: Path, change: str
) -> None:
    hold.remote.write("a.csv", b"of another")
    take_over(hold.remote, number=2)
    clocks.sleep(200)
    held, file = HeldRemote(hold), tmp_path / "a.csv"
    file.write_text("of this one")
    given: dict[str, tuple[object, ...]] = {"put": (file,), "write": (b"of this one",), "delete": ()}
    with pytest.raises(RunFolderError, match="has taken this run over"):
        getattr(held, change)("a.csv", *given[change])
    assert hold.remote.read("a.csv") == b"of another"


def test_who_has_said_that_it_is_through_says_nothing_after_a_sleep(hold: Hold, clocks: Clocks) -> None:
    hold.end()
    clocks.sleep(200)
    hold()
    claim = read_claim(hold.remote)
    assert claim is not None
    assert not claim.at_work


def test_of_threads_that_wait_to_ask_a_lost_storage_one_waits_for_all(
    hold: Hold, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def lost(self: Remote, under: str = "") -> object:
        asked.append(under)
        raise StorageError(f"{self.url}: lost")

    clocks.sleep(200)
    with monkeypatch.context() as patched:
        patched.setattr(Remote, "files", lost)
        for _ in range(3):
            with pytest.raises(StorageError, match=": lost"):
                hold()
    assert len(asked) == 1
    clocks.steady += 1
    hold()


@pytest.mark.parametrize(
    "odd",
    [b"", b"\xff", b"[]", b"[" * 3000, b'{"mark": "a"}', b'{"mark": "a", "host": "b", "pid": 1e999, "at_work": true}'],
    ids=["empty", "binary", "list", "nested-too-deep", "cut-short", "endless"],
)
def test_an_odd_object_says_that_nobody_is_at_work(remote: Remote, odd: bytes) -> None:
    remote.write(f"{DRIVERS}000002.json", odd)
    claim = read_claim(remote)
    assert claim is not None
    assert (claim.number, claim.at_work) == (2, False)
