import logging

import numpy as np
import pytest
import torch

from tests.training.networks import NO_CHANGE, images, short_of_memory, tiny
from tune_cnn.errors import TrialError
from tune_cnn.sections.training import TrainingConfig
from tune_cnn.training.batches import Batches
from tune_cnn.training.loop import evaluate
from tune_cnn.training.micro_batches import MicroBatches, answers
from tune_cnn.training.objective import objective_for

OBJECTIVE = objective_for("classification", TrainingConfig(), [1, 1, 1])


def batches() -> Batches:
    pixels = np.random.default_rng(0).integers(0, 256, (11, 8, 8, 3), np.uint8)
    labels = np.arange(11) % 3
    return Batches.of(pixels, labels, batch_size=8, preprocessing=NO_CHANGE, device=torch.device("cpu"))


def test_validation_in_parts_counts_what_validation_in_whole_batches_counts(caplog: pytest.LogCaptureFixture) -> None:
    whole = evaluate(tiny(), batches(), OBJECTIVE)
    micro = MicroBatches(purpose="validation")
    network = short_of_memory(tiny(), 3)
    with caplog.at_level(logging.WARNING, "tune_cnn"):
        first, second = (evaluate(network, batches(), OBJECTIVE, micro) for _ in range(2))
    assert "validation ran out of memory with 8 images at once" in caplog.text
    assert len(caplog.records) == 2  # 4, then 2; the second time it knows
    for counter in (first, second):
        assert (counter.confusion() == whole.confusion()).all()
        assert counter.scores() == pytest.approx(whole.scores())
    assert whole.confusion().sum() == 11


def test_counts_that_were_read_stay_though_more_are_added() -> None:
    counter, one = OBJECTIVE.counter(torch.device("cpu")), torch.tensor([1])
    counter.add(one, one, torch.tensor(0.0))
    before = counter.confusion()
    counter.add(one, one, torch.tensor(0.0))
    assert (before[1, 1], counter.confusion()[1, 1]) == (1, 2)


def test_answers_in_parts_are_those_of_whole_batches() -> None:
    inputs, micro = images(7), MicroBatches()
    assert torch.equal(answers(short_of_memory(tiny(), 2), inputs, micro), tiny()(inputs).argmax(dim=1))
    assert micro.size == 1


def test_a_network_too_large_for_one_image_says_what_to_write() -> None:
    with pytest.raises(TrialError, match=r"validation runs out of it with 1 image.*image\.px"):
        evaluate(short_of_memory(tiny(), 0), batches(), OBJECTIVE)
