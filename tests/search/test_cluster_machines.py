"""Machines that join a cluster in mid-search, and that are lost: real Ray, on a cluster of this machine."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest

from tests.search.on_cluster import Machines, Watched, begun, leaderboard, run_search, undisturbed
from tests.search.stub_trial import Fault, StubTrial
from tune_cnn.search.preflight import Asked, Seen, Standard, look


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


@dataclass
class Joins:
    """A second machine joins in mid-search."""

    machines: Machines
    nodes: list[str]

    def __call__(self, _session: Watched) -> None:
        if len(self.nodes) == 1:
            self.nodes.append(self.machines.add(cpus=2))


@pytest.mark.slow
def test_a_machine_that_joins_and_differs_is_named_and_given_no_trials(
    machines: Machines, shapes: Path, tmp_path: Path
) -> None:
    first = machines.add(cpus=1)
    asked = Asked(str(shapes), str(tmp_path), None)
    seen = Seen(**look(asked.as_json()))
    newer = replace(seen, versions={**seen.versions, "timm": "99.0"})
    joins = Joins(machines, [first])
    few = ("search.trials=4",)
    session = run_search(
        machines.address,
        tmp_path,
        StubTrial(epoch_seconds=1.5),
        *few,
        meanwhile=joins,
        standard=Standard(asked, newer, frozenset({first})),
    )
    machines.lose(1)
    machines.lose(0)
    pd.testing.assert_frame_equal(leaderboard(session.run), undisturbed(tmp_path / "whole", *few))
    assert all(node == first for number in range(4) for _, node in begun(session, number))
    named = r"trial \d was not begun on \S+: timm \S+, but 99.0 on the driver's; .*that machine is given no more trials"
    assert [line for line in session.lines if re.fullmatch(named, line)], "\n".join(session.lines)
    assert session.lines.count("the cluster has changed: 3 trials at a time from now on") == 1
    assert "the cluster has changed: 1 trial at a time from now on" in session.lines
