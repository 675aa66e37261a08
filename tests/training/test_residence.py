import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.test_checkpoint import training
from tune_cnn.models.network import Inputs
from tune_cnn.training.batches import Batches, Images
from tune_cnn.training.features import FeatureRows, Form
from tune_cnn.training.residence import Residence
from tune_cnn.training.rows import ResidentRows, brought, copied, size_bytes

CPU = torch.device("cpu")
PLENTY = 10**9


def some_images(key: str = "view 0", *, masks: bool = False) -> Batches:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (7, 8, 8, 3), np.uint8)
    labels = generator.integers(0, 3, (7, 8, 8), np.uint8) if masks else np.arange(7)
    half = (0.5, 0.5, 0.5)
    return Batches.of(pixels, labels, batch_size=3, preprocessing=(half, half), device=CPU, key=key)


def some_features(dtype: torch.dtype) -> Batches:
    maps = torch.randn(7, 4, 2, 2).to(dtype=dtype, memory_format=torch.channels_last), torch.randn(7, 5).to(dtype)
    forms = tuple(Form.of(one) for one in maps)
    arrays = tuple(form.rows(one) for form, one in zip(forms, maps, strict=True))
    return Batches(FeatureRows(arrays, forms, CPU), np.arange(7), 3, CPU, "features of view 0")


def several(inputs: Inputs) -> tuple[torch.Tensor, ...]:
    return inputs if isinstance(inputs, tuple) else (inputs,)


@pytest.mark.parametrize(
    "batches",
    [
        pytest.param(some_images(), id="images"),
        pytest.param(some_images(masks=True), id="masks"),
        pytest.param(some_features(torch.float32), id="features"),
        pytest.param(some_features(torch.bfloat16), id="features-of-half-precision"),
    ],
)
def test_rows_on_the_device_are_the_rows_of_the_arrays(batches: Batches) -> None:
    resident = Residence(PLENTY).of(batches)
    assert all(isinstance(rows, ResidentRows) for rows in (*resident.source.rows, resident.labels))
    for ours, theirs in ((resident.in_order(), batches.in_order()), (resident.shuffled(0, 1), batches.shuffled(0, 1))):
        for (mine, targets), (its, expected) in zip(ours, theirs, strict=True):
            assert torch.equal(targets, expected)
            assert targets.dtype is torch.int64
            for one, other in zip(several(mine), several(its), strict=True):
                assert torch.equal(one, other)
                assert (one.dtype, one.stride()) == (other.dtype, other.stride())


def test_a_view_is_copied_once_and_goes_before_the_next_comes() -> None:
    residence = Residence(PLENTY)
    first = residence.of(some_images("view 0"))
    assert residence.of(some_images("view 0")) is first
    assert isinstance(first.source, Images)
    gone = weakref.ref(first.source.pixels)
    second = residence.of(some_images("view 1"))
    assert second is not first
    del first
    gc.collect()
    assert gone() is None


def test_rows_without_a_name_are_never_taken_for_those_before() -> None:
    residence = Residence(PLENTY)
    assert residence.of(some_images("")) is not residence.of(some_images(""))


@pytest.mark.parametrize("room", [7 * (8 * 8 * 3 + 8) - 1, None], ids=["a-byte-short", "on-a-cpu"])
def test_without_room_batches_stay_as_they_are(room: int | None) -> None:
    batches = some_images()
    assert Residence(room).of(batches) is batches


def test_all_parts_of_a_large_array_arrive() -> None:
    rows = np.arange(7 * 5 * 2, dtype=np.float32).reshape(7, 5, 2)
    assert size_bytes(rows) == rows.nbytes
    found = copied(rows, CPU, chunk_bytes=100)
    assert torch.equal(found[np.array([6, 0, 3])], torch.from_numpy(rows[[6, 0, 3]]))
    assert len(found) == 7


def test_what_is_on_the_device_is_not_copied() -> None:
    rows = torch.zeros(3, 2)
    assert brought(rows, CPU) is rows


def test_training_comes_out_alike_wherever_the_rows_lie(tmp_path: Path) -> None:
    plain, resident = training(tmp_path), training(tmp_path)
    resident._train_rows, resident._val_rows = Residence(PLENTY), Residence(PLENTY)
    assert [one.record.scores for one in plain.epochs()] == [one.record.scores for one in resident.epochs()]
