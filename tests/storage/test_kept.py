"""A run that is kept in a storage, with made-up trials: lost and found, on one machine and on the next."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from threading import Barrier, Event

import pytest
from moto.s3.models import s3_backends

from tests.search.driving import drive, go_on, made_space, open_session, start
from tests.storage.conftest import S3
from tests.storage.life import until
from tune_cnn.errors import RunFolderError, StorageError, StoreError
from tune_cnn.files import write_whole
from tune_cnn.results.records import RunFolder
from tune_cnn.search.brought import brought, check_apart, tables_of, working_folder
from tune_cnn.search.compare import compare_runs
from tune_cnn.search.kept import kept_in_storage
from tune_cnn.storage.claim import DRIVERS, Hold, mark, read_claim
from tune_cnn.storage.mirror import Mirror
from tune_cnn.storage.remote import Remote

SPACE = ("search.asha=null", "training.epochs=2", "search.trials=3")


@pytest.fixture
def url(bucket: str) -> str:
    return f"s3://{bucket}/runs/made"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine: a working directory of its own."""
    return go_to(tmp_path / "here", monkeypatch)


def go_to(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    machine.mkdir(exist_ok=True)
    monkeypatch.chdir(machine)
    return machine


def nothing() -> None:
    """Do nothing."""


def searched(
    url: str, machine: Path, said: list[str], *, most: int | None = None, at_the_end: Callable[[], None] = nothing
) -> RunFolder:
    """Run a made-up search that is kept in a storage, or a part of it."""
    run = RunFolder(brought(url, said.append))
    with kept_in_storage(run, url, said.append, seconds_between=0.2):
        session = open_session(made_space(machine, overrides=SPACE), run)
        (run.space).write_text("search: {trials: 3}\n")
        drive(session, most=most)
        session.write_tables()
        at_the_end()
    return run


def test_everything_a_reader_needs_lies_in_the_storage(s3: S3, url: str, bucket: str, here: Path) -> None:
    said: list[str] = []
    run = searched(url, here, said)
    keys = s3.keys(bucket, "runs/made/")
    assert {"study.db", "space.yaml", "leaderboard.csv", "epochs.csv", "best.json"} <= keys
    assert {f"trials/{number:04d}/config.yaml" for number in range(3)} <= keys
    assert "best/model.safetensors" in keys
    assert sum(key.startswith("trials/") and key.endswith("best.json") for key in keys) == 2  # search.keep
    assert run.path == here / "runs" / "s3" / bucket / "runs" / "made"
    assert not said


def test_a_storage_that_is_lost_and_found_holds_everything_in_the_end(s3: S3, url: str, here: Path) -> None:
    said: list[str] = []
    run = RunFolder(brought(url, said.append))
    with kept_in_storage(run, url, said.append, seconds_between=0.2):
        session = open_session(made_space(here, overrides=SPACE), run)
        run.space.write_text("search: {trials: 3}\n")
        drive(session, most=1)
        s3.stop()
        try:
            drive(session, most=1)
            until(lambda: bool(said))
            drive(session)
        finally:
            s3.start()
        until(lambda: len(said) == 2)
    lost, back = said
    assert lost.startswith(f"{url}/")
    assert f"kept in {run.path} meanwhile" in lost
    assert back == f"{url} answers again: everything has been sent"
    assert len(compare_runs([tables_of(url, here / "fetched")]).rows) == 3
    assert {file.name for file in Remote(url).files()} >= {f"trials/{number:04d}/config.yaml" for number in range(3)}


def test_a_storage_that_is_lost_for_good_is_told_with_what_lies_where(
    s3: S3, url: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_cnn.search.kept._LAST_SECONDS", 0.5)
    said: list[str] = []
    try:
        with pytest.raises(StoreError) as lost:
            searched(url, here, said, most=2, at_the_end=s3.stop)
    finally:
        s3.start()
    assert "does not have all of this run" in str(lost.value)
    assert "all of it lies in runs/s3/" in str(lost.value)
    assert f"`tune-cnn resume {url}`, called here, sends it" in str(lost.value)
    searched(url, here, said)  # as the message says
    assert {f"trials/{number:04d}/config.yaml" for number in range(3)} <= {file.name for file in Remote(url).files()}


def test_another_machine_goes_on_where_the_first_one_was(
    url: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    searched(url, here, said, most=2)
    there = go_to(tmp_path / "there", monkeypatch)
    second = searched(url, there, said)
    assert second.path.is_relative_to(there)
    assert sum("files fetched into runs/s3/" in text for text in said) == 1
    undisturbed = open_session(made_space(there, overrides=SPACE), RunFolder(tmp_path / "undisturbed"))
    drive(undisturbed)
    undisturbed.write_tables()
    told = (second.leaderboard.read_text(), RunFolder(tmp_path / "undisturbed").leaderboard.read_text())
    assert told[0] == told[1]


def test_a_machine_that_was_left_behind_does_not_undo_what_another_did(
    url: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    searched(url, here, said, most=1)
    searched(url, go_to(tmp_path / "there", monkeypatch), said, most=2)
    go_to(here, monkeypatch)
    run = searched(url, here, said)
    assert any("has gone on elsewhere since; put aside as made.before-1" in text for text in said)
    assert run.path.with_name("made.before-1").is_dir()
    assert len(compare_runs([run.path]).rows) == 3


def test_two_machines_do_not_work_on_one_run_at_once(
    url: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(brought(url, print))
    with kept_in_storage(run, url, print):
        open_session(made_space(here), run)
        go_to(tmp_path / "there", monkeypatch)
        with pytest.raises(RunFolderError, match=r"a search on \S+ \(process \d+\) was at work on it \d+ seconds ago"):
            brought(url, print)
        go_to(here, monkeypatch)
    go_to(tmp_path / "there", monkeypatch)
    assert brought(url, print).is_dir()


def test_of_drivers_that_begin_at_the_same_moment_one_gets_the_run(url: str, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abcdefgh"]
    for folder in folders:
        mark(folder, url)
    start = Barrier(len(folders))

    def begin(folder: Path) -> str:
        start.wait()
        try:
            return Hold.take(Remote(url), folder).claim.mark
        except RunFolderError:
            return ""

    with ThreadPoolExecutor(len(folders)) as pool:
        (got,) = [name for name in pool.map(begin, folders) if name]
    claim = read_claim(Remote(url))
    assert claim is not None
    assert (claim.mark, claim.number) == (got, 1)


class Careless(Remote):
    """A storage that takes every write, whatever its condition."""

    def create(self, name: str, data: bytes) -> bool:
        self.write(name, data)
        return self.read(name) == data


def test_where_a_storage_lets_two_drivers_begin_the_first_one_ends_at_its_next_sign(url: str, tmp_path: Path) -> None:
    holds = []
    for name in ("first", "second"):
        mark(tmp_path / name, url)
        with pytest.MonkeyPatch.context() as patched:  # as if neither had looked after the other's write
            patched.setattr("tune_cnn.storage.claim.read_claim", lambda _remote: None)
            holds.append(Hold.take(Careless(url), tmp_path / name))
    with pytest.raises(RunFolderError, match="has taken this run over"):
        holds[0]()
    holds[1]()


def test_a_driver_that_was_taken_for_dead_ends_and_sends_nothing_more(
    s3: S3, url: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_cnn.storage.claim.SECONDS_BETWEEN_SIGNS", 0.0)
    said: list[str] = []
    run = RunFolder(brought(url, said.append))

    def go_on_elsewhere() -> None:
        claim = read_claim(Remote(url))
        assert claim is not None
        other = replace(claim, mark="m", host="another", pid=1, process="p")
        Remote(url).write(f"{DRIVERS}000002.json", json.dumps(asdict(other)).encode())

    def work() -> None:
        with kept_in_storage(run, url, said.append, seconds_between=0.1) as kept:
            assert kept is not None
            go_on_elsewhere()
            until(lambda: kept._pusher.broken is not None)
            (run.path / "late.csv").write_text("never to arrive")
            kept.of(lambda _number: True).check()

    with pytest.raises(RunFolderError, match=r"a search on another \(process 1\) has taken this run over"):
        work()
    assert "late.csv" not in {file.name for file in Remote(url).files()}
    assert not said


def test_a_driver_says_that_it_is_at_work_while_much_is_sent(
    url: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_cnn.storage.claim.SECONDS_BETWEEN_SIGNS", 0.0)
    monkeypatch.setattr("tune_cnn.storage.pusher._SECONDS_BETWEEN_BEATS", 0.05)
    run, sent = RunFolder(brought(url, print)), Event()

    def send(_mirror: Mirror, *, last: bool = False) -> None:
        sent.wait(60)

    def signs() -> float:
        claim = read_claim(Remote(url))
        return claim.seconds if claim else 0.0

    monkeypatch.setattr(Mirror, "send", send)
    with kept_in_storage(run, url, print):
        for _ in range(2):
            before = signs()
            until(lambda before=before: signs() > before)  # type: ignore[misc]
        sent.set()
    claim = read_claim(Remote(url))
    assert claim is not None
    assert not claim.at_work


def test_a_driver_that_died_without_a_word_is_replaced(
    url: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched(url, here, [], most=1)
    remote = Remote(url)
    (driver,) = [file.name for file in remote.files() if file.name.startswith(DRIVERS)]
    claim = json.loads(remote.read(driver) or b"")
    remote.write(driver, json.dumps(claim | {"at_work": True, "seconds": claim["seconds"] - 200}).encode())
    go_to(tmp_path / "there", monkeypatch)
    folder = brought(url, print)
    assert RunFolder(folder).study.is_file()
    (folder / "kept.txt").write_text("what is fetched once is not fetched again")
    assert (brought(url, print) / "kept.txt").is_file()
    remote.write(driver, json.dumps(claim).encode())  # it was not dead, and has ended since
    assert not (brought(url, print) / "kept.txt").is_file()


def test_a_forbidden_storage_is_told_before_anything_begins(s3: S3, url: str, here: Path) -> None:
    s3.forbid()
    try:
        with pytest.raises(StorageError, match=f"^{url}: cannot be reached: no right to"):
            brought(url, print)
    finally:
        s3.allow()
    assert not list(here.iterdir())


def test_a_storage_that_may_only_be_read_is_told_before_anything_begins(s3: S3, url: str, here: Path) -> None:
    run = RunFolder(brought(url, print))
    s3.forbid(after_requests=1)
    try:
        with (
            pytest.raises(StorageError, match=r"000001\.json: cannot be written: no right to"),
            kept_in_storage(run, url, print),
        ):
            pytest.fail("it began")
    finally:
        s3.allow()


def test_what_lies_in_a_storage_is_never_taken_for_a_run(s3: S3, url: str, here: Path) -> None:
    Remote(url).write("train/cat/a.png", b"a photo")
    with pytest.raises(
        RunFolderError, match=r"holds other objects \('train/cat/a.png' is one of 1\) and no run; write"
    ):
        brought(url, print)
    assert [file.name for file in Remote(url).files()] == ["train/cat/a.png"]


@pytest.mark.parametrize(
    ("run", "data", "apart"),
    [
        pytest.param("s3://b/photos", "s3://b/photos", False, id="one-place"),
        pytest.param("s3://b/photos/runs/x", "s3://b/photos/", False, id="results-among-images"),
        pytest.param("s3://b/x", "s3://b/x/photos", False, id="images-among-results"),
        pytest.param("s3://b/photos-runs/x", "s3://b/photos", True, id="names-that-begin-alike"),
        pytest.param("s3://b/photos", "/data/photos", True, id="images-on-a-disk"),
        pytest.param(None, "s3://b/photos", True, id="results-on-a-disk"),
    ],
)
def test_images_and_results_do_not_share_a_place(run: str | None, data: str, apart: bool) -> None:
    with nullcontext() if apart else pytest.raises(RunFolderError, match="must not share a place with the images"):
        check_apart(run, data)


def test_what_people_put_beside_a_run_stays(
    url: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = {"notes.txt", "plots/a.png", "trials/0000/seen.txt"}
    for machine in (here, here, tmp_path / "there"):
        go_to(machine, monkeypatch)
        run = RunFolder(brought(url, print))
        with kept_in_storage(run, url, print):
            write_whole(run.study, b"")
            write_whole(run.trial(0).log, b"a word")
        for name in notes:
            Remote(url).write(name, b"mine")
    assert notes < {file.name for file in Remote(url).files()}


def test_a_leaderboard_is_read_from_the_storage_alone(url: str, here: Path, tmp_path: Path) -> None:
    run = searched(url, here, [])
    fetched = tables_of(url, tmp_path / "fetched")
    assert compare_runs([fetched]).rows == compare_runs([run.path]).rows
    with pytest.raises(RunFolderError, match=r"holds no study.db"):
        tables_of(f"{url}-2", tmp_path / "nothing")


def test_the_working_folder_stays_below_runs(here: Path) -> None:
    assert working_folder("s3://bucket/a/b") == here / "runs/s3/bucket/a/b"
    with pytest.raises(StorageError, match=r"'\.\.'"):
        working_folder("s3://bucket/../../b")


def test_a_run_on_another_machine_comes_home_with_its_weights_if_it_is_among_the_best(
    s3: S3, url: str, bucket: str, here: Path
) -> None:
    run = RunFolder(brought(url, print))
    with kept_in_storage(run, url, print, seconds_between=0.2) as kept:
        assert kept is not None
        session = open_session(made_space(here, overrides=SPACE), run)
        homecoming = kept.of(lambda number: number == 0)
        for _ in range(2):
            job = start(session)
            effective = run.trial(job.number).effective.read_text()
            homecoming.on_away(job.folder, effective)
            away = Remote(f"{url}/trials/{job.number:04d}")
            go_on(session, job, 1, 0.5)
            away.write("trial.log", b"a word")
            away.write("last/state.json", b"{}")
            assert homecoming.before_end(job.number, job.folder, 1)
            session.on_end(job.number, None)
    assert [run.trial(number).log.is_file() for number in (0, 1)] == [True, True]
    weights = {key.split("/")[1] for key in s3.keys(bucket, "runs/made/") if "/last/" in key}
    assert not weights


def test_a_stopped_trial_comes_home_with_what_it_did_last(
    url: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_cnn.search.trials_away._SECONDS_BETWEEN_LOOKS", 0.0)
    run = RunFolder(brought(url, print))
    folder, there = run.trial(0), Remote(f"{url}/trials/0000")
    with kept_in_storage(run, url, print, seconds_between=30) as kept:
        assert kept is not None
        kept.on_away(folder.path, "phase: train\n")
        there.write("last/state.json", b'{"epoch": 2}')
        assert not kept.bring_home(folder.path, with_weights=True, epoch=3)
        there.write("last/state.json", b'{"epoch": 3}')
        assert kept.bring_home(folder.path, with_weights=True, epoch=3)
        assert json.loads((folder.last / "state.json").read_text()) == {"epoch": 3}
        kept.on_away(folder.path, "phase: train\n")
        monkeypatch.setattr("tune_cnn.search.trials_away._SECONDS_ON_THE_WAY", 0.0)
        assert kept.bring_home(folder.path, with_weights=True, epoch=4)  # its worker was lost: nobody waits for ever


def test_a_trial_that_could_not_come_home_does_so_with_the_next_driver(
    s3: S3, url: str, bucket: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_cnn.search.trials_away._WAITS_SECONDS", ())
    said: list[str] = []
    run = RunFolder(brought(url, said.append))
    folder = run.trial(0)
    with kept_in_storage(run, url, said.append, seconds_between=30) as kept:
        assert kept is not None
        write_whole(run.study, b"")
        kept.on_away(folder.path, "phase: train\n")
        Remote(f"{url}/trials/0000").write("trial.log", b"a word")
        s3.stop()
        assert kept.bring_home(folder.path, with_weights=True, epoch=1)
        s3.start()
    assert not folder.log.exists()
    assert any("trials/0000: could not be fetched; the next `tune-cnn resume` does it" in text for text in said)
    s3_backends["123456789012"]["aws"].put_object(bucket, "runs/made/trials/../trial.log", b"of a stranger")
    with kept_in_storage(run, url, said.append):
        assert folder.log.read_text() == "a word"
    assert not (run.path / "trial.log").exists()
