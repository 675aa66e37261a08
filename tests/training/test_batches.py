import numpy as np
import pytest
import torch

from tune_cnn.models.network import single
from tune_cnn.seeds import seed_of
from tune_cnn.training.batches import Batches, Images


def batches(images: int, batch_size: int) -> Batches:
    """Images that show their own number."""
    pixels = np.arange(images, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    return Batches.of(
        pixels,
        np.arange(images, dtype=np.int64),
        batch_size=batch_size,
        preprocessing=((0.0,) * 3, (1 / 255,) * 3),
        device=torch.device("cpu"),
    )


@pytest.mark.parametrize(("images", "batch_size"), [(10, 4), (9, 4), (1, 4), (3, 1), (4, 8)])
def test_a_shuffled_epoch_gives_every_image_once_with_its_label(images: int, batch_size: int) -> None:
    source = batches(images, batch_size)
    seen = list(source.shuffled(0, 1))
    assert len(seen) == len(source)
    labels = torch.cat([labels for _, labels in seen])
    assert sorted(labels.tolist()) == list(range(images))
    assert torch.equal(torch.cat([single(pixels)[:, 0, 0, 0] for pixels, _ in seen]).round(), labels.float())


def test_no_batch_of_one_is_left_over() -> None:
    assert [len(labels) for _, labels in batches(9, 4).shuffled(0, 1)] == [4, 5]


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return [int(label) for _, labels in batches(50, 8).shuffled(seed, epoch) for label in labels]

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_pixels_are_normalised() -> None:
    white = np.full((3, 4, 4, 3), 2, np.uint8)
    pixels = Images.of(white, ((0.5,) * 3, (0.25,) * 3), torch.device("cpu")).fetch(np.arange(3))
    assert pixels.shape == (3, 3, 4, 4)
    assert pixels[2, 0, 0, 0].item() == pytest.approx((2 / 255 - 0.5) / 0.25)


def test_seeds_are_the_same_on_every_machine() -> None:
    assert seed_of("order", 0, 1) == 1309100540
