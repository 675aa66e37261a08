"""A trial that trains nothing: its scores are a function of (learning rate, epoch), its state a number in a file.

It behaves as `run_trial` does: goes on where its folder holds a state, keeps each epoch before it tells of it. Faults
happen on whichever worker of whichever machine it runs on; each leaves a file, so that it happens so many times only.
"""

import errno
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tune_cnn.search import ray_environment  # noqa: F401 - first, as Ray reads it when it is imported

# isort: split
import ray

from tune_cnn import progress
from tune_cnn.config import TrialConfig
from tune_cnn.errors import DivergedError
from tune_cnn.files import write_whole
from tune_cnn.models.trunk import frozen_units_of, trunk_of
from tune_cnn.results.effective import write_effective
from tune_cnn.results.records import EpochRecord, TrialFacts, TrialFolder

ALWAYS = 1000
FaultKind = Literal["killed", "hangs", "crashes", "diverges", "out of memory", "gets nowhere", "full disk"]


@dataclass(frozen=True)
class Fault:
    """What befalls a trial in an epoch, before it has kept it, and how many times."""

    trial: int
    epoch: int
    kind: FaultKind
    times: int = ALWAYS


@dataclass(frozen=True)
class StubTrial:
    """What a worker does with a job; see `tune_cnn.search.worker.Work`."""

    faults: tuple[Fault, ...] = ()
    epoch_seconds: float = 0.05

    def __call__(
        self,
        config: TrialConfig,
        folder: TrialFolder,
        *,
        on_epoch: Any,
        on_read_back: Callable[..., Any] = lambda _tree: None,
        before_keeping: Callable[[], None] = lambda: None,
        **_given: Any,
    ) -> None:
        past = kept_epochs(folder)
        facts = facts_of(config)
        seen = {"phase": "train", "frozen_units": facts.frozen_units}
        on_read_back(write_effective(folder.effective, config, live={}, observed=seen))
        for epoch in range(1, past + 1):
            on_epoch(epoch_of(config, epoch), facts, 100.0)
        for epoch in range(past + 1, config.training.epochs + 1):
            note_visit(folder, epoch)
            self._suffer(folder, epoch)
            time.sleep(self.epoch_seconds)
            progress.step()
            before_keeping()
            write_whole(folder.last / "epoch", str(epoch), durable=False)
            on_epoch(epoch_of(config, epoch), facts, 100.0)

    def _suffer(self, folder: TrialFolder, epoch: int) -> None:
        for fault in self.faults:
            mark = folder.path / f"fault-{epoch}"
            before = len(mark.read_text()) if mark.exists() else 0
            if (int(folder.path.name), epoch) != (fault.trial, fault.epoch) or before >= fault.times:
                continue
            mark.write_text("x" * (before + 1))
            _befall(fault.kind, epoch)


def _befall(kind: FaultKind, epoch: int) -> None:
    match kind:
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "crashes":
            os.abort()
        case "hangs":
            time.sleep(1000)
        case "diverges":
            raise DivergedError(f"epoch {epoch}: the training loss is nan")
        case "out of memory":
            raise MemoryError("cannot allocate 8 GiB")
        case "full disk":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case "gets nowhere":
            while True:
                time.sleep(0.05)
                progress.sign()


def score_of(lr: float, epoch: int) -> float:
    return round(1 / (1 + abs(lr - 0.01) * 50) + 0.01 * epoch, 6)


def epoch_of(config: TrialConfig, epoch: int) -> EpochRecord:
    score = score_of(config.training.optimizer.lr, epoch)
    scores = {"train_loss": 1.0, "val_loss": 1 - score, "val_accuracy": score}
    return EpochRecord(epoch=epoch, seconds=0.5, lr=0.1, frozen_units=0, score=score, scores=scores)


def facts_of(config: TrialConfig) -> TrialFacts:
    return TrialFacts(1000, 10, 1.5, frozen_units_of(config.model), len(trunk_of(config.model).line), "cpu")


def kept_epochs(folder: TrialFolder) -> int:
    state = folder.last / "epoch"
    return int(state.read_text()) if state.exists() else 0


def note_visit(folder: TrialFolder, epoch: int) -> None:
    """Write down that an epoch is trained, and where."""
    node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""
    with (folder.path / "visits").open("a") as file:
        file.write(json.dumps([epoch, node]) + "\n")


def visits(folder: TrialFolder) -> list[tuple[int, str]]:
    """Give every epoch that was begun, and on which machine, in their order."""
    file = folder.path / "visits"
    return [tuple(json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []
