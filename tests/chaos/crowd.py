"""Many drivers that start on one run folder at the same moment: one of them searches, the others are sent away."""

from pathlib import Path

from tests.chaos.ground import ONE_BY_ONE, Ground
from tests.chaos.kills import Undisturbed
from tests.chaos.outcome import Tables, complaint, doubled
from tests.chaos.processes import Order, start
from tests.chaos.stub_trial import trained
from tune_cnn.results.records import RunFolder


def crowd(ground: Ground, folder: Path, whole: Undisturbed, *, starts: int, sabotage: str = "") -> list[str]:
    """Start so many drivers at once; gives what did not hold."""
    folder.mkdir()
    path, told = RunFolder(folder / "run"), folder / "trained"
    command = ground.search(path.path, ONE_BY_ONE)
    orders = [
        Order(command, folder / f"{number}.out", told, epoch_seconds=0.05, sabotage=sabotage)
        for number in range(starts)
    ]
    running = [start(order) for order in orders]
    ends = [(one.ended(), one.said) for one in running]
    faults = [wrong for code, said in ends if code != 0 and (wrong := _not_sent_away(code, said))]
    if not any(code == 0 for code, _ in ends):
        return [*faults, "nobody searched to the end"]
    lines = trained(told)
    if len({process for _, _, process in lines}) > 1:
        faults.append("several drivers trained")
    if len({line[:2] for line in lines}) < len(lines):
        faults.append("an epoch was trained twice")
    unlike = Tables.of(path).unlike(whole.tables)
    return faults + doubled(path) + ([unlike] if unlike else [])


def _not_sent_away(code: int, said: str) -> str:
    if code != 2 or "another search is at work" not in said:
        return complaint(code, said) or f"sent away with {code}, but why: {said[-500:]}"
    return "a traceback" if "Traceback" in said else ""
