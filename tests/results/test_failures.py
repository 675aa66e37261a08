import errno
from pathlib import Path

import pytest

from tune_cnn.errors import ChangedDataError, DataError, DivergedError, StoreError
from tune_cnn.results.failures import Failure, failure_of, write_traceback
from tune_cnn.results.records import TrialFolder


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason", "blame"),
    [
        pytest.param(DivergedError("epoch 1: inf"), "DivergedError: epoch 1: inf", "trial", id="one-of-ours"),
        pytest.param(
            caused(DivergedError("epoch 1"), KeyError("loss")), "DivergedError: epoch 1", "trial", id="not-its-cause"
        ),
        pytest.param(ValueError(), "ValueError", "trial", id="without-a-word"),
        pytest.param(DataError(["a: torn", "b: torn"]), "DataError: a: torn; b: torn", "trial", id="several-lines"),
        pytest.param(RuntimeError("x" * 600), f"RuntimeError: {'x' * 486}…", "trial", id="too-long-for-a-table"),
        pytest.param(StoreError("gone"), "StoreError: gone", "store", id="store"),
        pytest.param(
            OSError(errno.ENOSPC, "No space left"), "OSError: [Errno 28] No space left", "store", id="full-disk"
        ),
        pytest.param(
            caused(RuntimeError("not saved"), OSError(errno.ENOSPC, "full")), "RuntimeError: not saved", "store",
            id="a-full-disk-behind-it",
        ),
        pytest.param(
            FileNotFoundError(errno.ENOENT, "gone"), "FileNotFoundError: [Errno 2] gone", "trial", id="a-missing-file"
        ),
        pytest.param(ChangedDataError("other images"), "ChangedDataError: other images", "data", id="other-images"),
    ],
)  # fmt: skip
def test_a_failure_is_told_by_the_last_exceptions_own_type_and_message(
    error: Exception, reason: str, blame: str
) -> None:
    failure = failure_of(error)
    assert (failure.reason, failure.blame) == (reason, blame)
    assert Failure(**failure.as_json()) == failure


def test_a_traceback_is_written_in_whole_and_a_disk_that_refuses_it_is_no_second_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("where a folder should be")
    for folder in (TrialFolder(tmp_path / "trial"), TrialFolder(tmp_path / "file" / "trial")):
        try:
            raise ValueError("outer") from KeyError("inner")
        except ValueError:
            write_traceback(folder)
    text = TrialFolder(tmp_path / "trial").error.read_text()
    assert text.index("KeyError: 'inner'") < text.index("ValueError: outer")
