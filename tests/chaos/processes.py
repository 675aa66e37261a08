"""Processes that run the command line as a user would, in folders of a chaos test, and can be killed at any moment.

They are forked from a process that has imported everything and has no threads, so that starting one takes no seconds.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from tests.chaos import executor, failpoints, stub_trial
from tests.chaos.failpoints import Fault
from tests.chaos.sabotage import SABOTAGE
from tune_cnn import cli
from tune_cnn.search import live_tables, unwritten

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "tests.chaos.processes",
        "tune_cnn.search.conclusion",
        "tune_cnn.search.compare",
        "tune_cnn.evaluation_output",
        "tune_cnn.models.weights",
    ]
)
HANGS_SECONDS = 120.0
_BEGUN = "begun\n"
_ONE_ASKS = threading.Lock()
"""Whoever starts a process asks all others for their exit codes, and each can be read once: of two threads that ask for
the same at a time, one would be told 255."""


@dataclass(frozen=True)
class Order:
    """A command line, and under which circumstances it runs."""

    arguments: tuple[str, ...]
    out: Path
    """For everything it prints."""
    trained: Path
    """Told of each epoch that begins."""
    slots: int = 1
    fault: Fault | None = None
    epoch_seconds: float = 0.0
    """What a trial takes for an epoch."""
    sabotage: str = ""
    """The name of a safeguard that is taken away; empty for none."""


@dataclass
class Run:
    """A process that obeys an order."""

    order: Order
    process: BaseProcess

    def ended(self, seconds: float = HANGS_SECONDS) -> int:
        """Wait for its end and give its exit code, minus the signal if one killed it.

        Raises:
            TimeoutError: it hangs; it has been killed.
        """
        deadline = time.monotonic() + seconds
        while (code := self.exit_code) is None:
            if time.monotonic() > deadline:
                self.process.kill()
                self.ended(HANGS_SECONDS)
                raise TimeoutError(f"hangs: {' '.join(self.order.arguments)}")
            time.sleep(0.005)
        return code

    @property
    def exit_code(self) -> int | None:
        """The exit code, minus the signal if one killed it; None while it runs."""
        with _ONE_ASKS:
            return self.process.exitcode

    def send(self, number: signal.Signals) -> None:
        """Send a signal; a process that has ended gets none."""
        if self.process.pid is not None and self.exit_code is None:
            os.kill(self.process.pid, number)

    @property
    def said(self) -> str:
        return self.order.out.read_text(errors="replace").removeprefix(_BEGUN) if self.order.out.exists() else ""


def start(order: Order) -> Run:
    """Start a process; gives it once the command line is about to begin."""
    order.out.unlink(missing_ok=True)
    process = FORKS.Process(target=obey, args=(order,))
    with _ONE_ASKS:
        process.start()
    running, deadline = Run(order, process), time.monotonic() + HANGS_SECONDS
    while running.exit_code is None and not order.out.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    return running


def run(order: Order, seconds: float = HANGS_SECONDS) -> tuple[int, str]:
    """Run a command line to its end; gives its exit code and all it printed."""
    running = start(order)
    return running.ended(seconds), running.said


def obey(order: Order) -> None:
    """Run a command line in this process, which is there for nothing else."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)  # until the command line puts its own handler in place
    signal.signal(signal.SIGINT, signal.default_int_handler)
    part = order.out.with_suffix(".part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.write(handle, _BEGUN.encode())
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = (
        os.fdopen(1, "w", buffering=1, closefd=False),
        os.fdopen(2, "w", buffering=1, closefd=False),
    )
    os.environ |= {
        stub_trial.TRAINED: str(order.trained),
        stub_trial.EPOCH_SECONDS: str(order.epoch_seconds),
        "COLUMNS": "400",
    }
    torch.set_num_threads(1)  # other processes run beside this one
    executor.install(order.slots)
    if order.sabotage:
        SABOTAGE[order.sabotage]()
    if order.fault:
        # Points come in the same order each time.
        live_tables._TIME_SHARE, unwritten._SECONDS_BETWEEN_WRITES = 1e9, 0.0
        failpoints.install(order.fault)
    sys.argv = ["tune-cnn", *order.arguments]
    part.rename(order.out)
    cli.main()
