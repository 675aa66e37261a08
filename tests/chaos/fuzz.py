"""Inputs that nobody would write: each target is fed mutations of good ones, for so many seconds; nothing may crash.

`make fuzz SECONDS=600` for ten minutes a target, each time with others; the suite feeds each a few that are always the
same, so that a change alone turns it red. A crash is any error but those that
are raised on purpose, which the command line shows as a message. Hypothesis shrinks what it finds.
"""

import argparse
import logging
import math
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.chaos.fuzz_targets import TARGETS, Feed, Mutation, Target

_MARKS = (
    *(b"{", b"}", b"[", b"]", b": ", b"- ", b"\n", b"\n  ", b"\t", b"&a ", b"*a", b"!!", b"#", b"|", b">", b"? ", b"'"),
    *(b'"', b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r", b",", b";", b"../", b"/etc/", b"=", b"\\"),
    *(b"choice: ", b"range: ", b"{range: [0, 1]}", b".nan", b"1e999", b"-1", b"null", b"true", b"9" * 30, b"NaN"),
)
_ADDED = st.one_of(st.binary(max_size=3), st.sampled_from(_MARKS))
MUTATIONS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 6), _ADDED), min_size=1, max_size=4)


def fuzz(target: Target, folder: Path, *, first_seed: int, seconds: float = math.inf, rounds: float = math.inf) -> int:
    """Feed a target for so long, or so many rounds; gives how many inputs it took.

    Raises:
        Exception: whatever the target crashed with, with the input in its notes.
    """
    feed, taken, until = target.make(folder), 0, time.monotonic() + seconds
    with _silent():
        for number in count(first_seed):
            taken += _round(feed, number, until, target.examples)
            if time.monotonic() >= until or number + 1 - first_seed >= rounds:
                break
    return taken


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the readers from saying each time that something is damaged."""
    logger = logging.getLogger("tune_cnn")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _round(feed: Feed, number: int, until: float, examples: int) -> int:
    taken = 0

    @seed(number)
    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=False
    )
    @given(mutations=MUTATIONS, choice=st.integers(0, 11))
    def one(mutations: list[Mutation], choice: int) -> None:
        nonlocal taken
        if taken == 0 or time.monotonic() < until:
            taken += 1
            feed(mutations, choice)

    one()
    return taken


def main() -> None:
    """Fuzz the targets that are asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [target.id for target in TARGETS]
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--seconds", type=float, default=600.0, help="for each")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    crashed = False
    for target in [target for target in TARGETS if target.id in (asked.targets or names)]:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            try:
                inputs = fuzz(target, Path(folder), seconds=asked.seconds, first_seed=asked.seed)
            except Exception:  # noqa: BLE001  # whatever it is, it is what we look for
                crashed = True
                print(f"{target.id}: crashed", traceback.format_exc(), sep="\n", flush=True)
            else:
                print(f"{target.id}: {inputs} inputs in {time.monotonic() - began:.0f} s, no crash", flush=True)
    sys.exit(1 if crashed else 0)


if __name__ == "__main__":
    main()
