"""Machines that join a cluster in mid-search, and that are lost: real Ray, on a cluster of this machine."""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tests.search.on_cluster import Machines, Watched, begun, leaderboard, run_search, undisturbed
from tests.search.stub_trial import Fault, StubTrial


@dataclass
class Changes:
    """A second machine joins in mid-search; the first is lost once the second is used, in the midst of trial 0."""

    machines: Machines
    nodes: list[str]

    def __call__(self, session: Watched) -> None:
        if len(self.nodes) == 1:
            self.nodes.append(self.machines.add(cpus=2))
        on_second = any(node == self.nodes[1] for number in session.running for _, node in begun(session, number))
        if on_second and len(self.machines.nodes) == 2 and session.next_epoch(0) == 4:
            self.machines.lose(0)


def test_a_machine_that_joins_is_used_and_trials_of_one_that_is_lost_go_on_elsewhere(
    machines: Machines, tmp_path: Path
) -> None:
    changes = Changes(machines, [machines.add(cpus=1)])
    waits = StubTrial((Fault(0, 4, "gets nowhere", times=1),), epoch_seconds=0.2)
    few = ("search.trials=4",)
    try:
        session = run_search(machines.address, tmp_path, waits, *few, meanwhile=changes)
    finally:
        machines.lose(0)
    pd.testing.assert_frame_equal(leaderboard(session.run), undisturbed(tmp_path / "whole", *few))
    first, second = changes.nodes
    seen = begun(session, 0)
    assert seen == [(epoch, first) for epoch in (1, 2, 3, 4)] + [(epoch, second) for epoch in (4, 5)]
    assert [begun(session, number) for number in (1, 2, 3)] == [[(epoch, second) for epoch in range(1, 6)]] * 3
    gone = r"trial 0 lost its worker \(its machine (is gone|does not answer)\), goes on from epoch 4 \(1 of 3\)"
    assert [line for line in session.lines if re.fullmatch(gone, line)]
    assert "the cluster has changed: 3 trials at a time from now on" in session.lines
