"""What a search says first of what it is about to do."""

from pathlib import Path
from typing import Any

import pytest

from tests.space.made import space_of
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import open_data
from tune_cnn.search.search import header

SVM, DENSE = {"kind": "svm"}, {"kind": "dense", "hidden": [16]}


@pytest.mark.parametrize(
    ("head", "scheduler", "budget"),
    [
        pytest.param(SVM, "none", "40 trials, each fitted at once", id="svm"),
        pytest.param(
            {"choice": [SVM, {"kind": "logistic"}]}, "none", "40 trials, each fitted at once", id="linear-models-alone"
        ),
        pytest.param(
            {"choice": [SVM, DENSE]}, "ASHA, 3 epochs' grace, best 1/3", "40 trials of at most 20 epochs", id="mixed"
        ),
        pytest.param(DENSE, "ASHA, 3 epochs' grace, best 1/3", "40 trials of at most 20 epochs", id="dense"),
    ],
)
def test_epochs_and_asha_are_promised_only_where_trials_have_epochs(
    shapes: Path, cache: Cache, tmp_path: Path, head: dict[str, Any], scheduler: str, budget: str
) -> None:
    space = space_of(tmp_path, model__head=head, model__freeze={"depth": 1.0}, image={"px": 32}, data__root=str(shapes))
    default = space.config(space.tree_of(space.defaults()).tree, seed=0, cpu_threads=1, weights_file=None)
    said = header(space, default, open_data(default.data, default.image, cache=cache), weights={"net": "file"})
    assert (said["scheduler"], said["budget"], said["weights"]) == (scheduler, budget, "net: file")
