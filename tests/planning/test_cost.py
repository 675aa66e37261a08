from typing import Any

import pytest

from tests.planning.pricing import training, work
from tune_cnn.planning.cost import SECONDS_BETWEEN, Costs, Images, Sharing
from tune_cnn.planning.work import ModelKey
from tune_cnn.training import keeping
from tune_cnn.training.times import ImageTimes, ModelTimes, SaveTime, StepTime

# 100 training and 10 validation images; a forward pass is 1 + 2 + 3 + 4 s and 2 s for the head.
UNITS = (1.0, 2.0, 3.0, 4.0)
STEPS = (StepTime(0, 8, 0.0, 36.0), StepTime(2, 8, 3.0, 27.0), StepTime(4, 8, 10.0, 6.0))
MAPS = (8 * 3072, 3072, 6144, 64)
SAVES = (SaveTime(0, 0.5, 1.5), SaveTime(4, 0.1, 0.3))
CUTS = (0, 0, 0, 2, 4)
MODEL = ModelTimes(UNITS, 2.0, MAPS, CUTS, 0.1 / 3072, STEPS, build_seconds=5.0, saves=SAVES, save_best_seconds=0.25)
IMAGES = ImageTimes(decode_seconds=0.5, load_seconds=0.1, view_seconds={"light": 0.2, "none": 0.0})


def costs(*, views: bool = False, features: bool = False, **more: Any) -> Costs:
    given: dict[str, Any] = {"models": {ModelKey("net", 32): MODEL}, "images": {32: IMAGES}, "counts": Images(100, 10)}
    return Costs(**given | {"shared": Sharing(views=views, features=features), "decoded_px": (32,)} | more)


def at_batch(size: int) -> Any:
    return training(5, batch_size=size)


@pytest.mark.parametrize(
    ("shared", "frozen", "policy", "seconds"),
    [
        pytest.param({}, 0, "none", 100 * (0.1 + 36) + 10 * (0.1 + 12), id="all-trains"),
        pytest.param({}, 0, "light", 100 * (0.1 + 0.2 + 36) + 10 * (0.1 + 12), id="augmented-in-every-epoch"),
        pytest.param({}, 2, "none", 100 * (0.1 + 3 + 27) + 10 * (0.1 + 12), id="the-frozen-units-run-in-every-epoch"),
        pytest.param({"views": True}, 2, "light", 100 * (0.1 + 3 + 27) + 10 * (0.1 + 12), id="views-are-there"),
        pytest.param(
            {"features": True}, 4, "light", 100 * (0.1 * 64 / 3072 + 6) + 10 * (0.1 * 64 / 3072 + 2), id="features"
        ),
        pytest.param(
            {"features": True}, 3, "none", 100 * (0.1 + 3 + 18) + 10 * (0.1 + 9), id="features-at-a-cut-before"
        ),
    ],
)
def test_an_epoch_costs_its_images(shared: dict[str, bool], frozen: int, policy: str, seconds: float) -> None:
    asked = work(frozen_units=frozen, policy=policy, training=at_batch(8))
    assert costs(**shared).price(asked).train.seconds == pytest.approx(seconds)


def test_a_trial_pays_for_its_beginning_and_for_saving() -> None:
    price = costs(begin_seconds=1.0).price(work())
    assert (price.begin_seconds, price.save_best_seconds) == (6.25, 0.25)
    assert price.save_seconds == pytest.approx(0.9)


def test_short_epochs_are_not_all_waited_for_until_the_disk_has_them() -> None:
    price = costs(counts=Images(1, 0)).price(work(frozen_units=4, policy="none", training=at_batch(8)))
    share = (0.1 + 10 + 6) / SECONDS_BETWEEN
    assert share > 1
    quick = costs(counts=Images(1, 0), models={ModelKey("net", 32): MODEL.scaled(0.1)}).price(work(frozen_units=4))
    assert price.save_seconds == pytest.approx(0.3)
    assert 0.1 < quick.save_seconds < 0.15
    assert quick.save_best_seconds < 0.05


def test_trials_keep_their_state_as_often_as_the_price_has_it() -> None:
    assert keeping.SECONDS_BETWEEN == SECONDS_BETWEEN


def test_in_a_warm_up_the_whole_backbone_stands_still() -> None:
    price = costs().price(work(training=at_batch(8), policy="none"))
    assert price.warm_up.seconds == pytest.approx(100 * (0.1 + 10 + 6) + 10 * (0.1 + 12))


def test_folds_cost_all_their_trainings() -> None:
    folds, single = (costs().price(work(folds=folds, policy="none", training=at_batch(8))) for folds in (5, 1))
    assert folds.train.seconds == pytest.approx(4 * 110 * 30.1 + 110 * 12.1)
    assert folds.begin_seconds - 0.25 == 5 * (single.begin_seconds - 0.25)


def test_with_folds_features_are_kept_of_each_fold() -> None:
    builds = costs(features=True).price(work(folds=5, frozen_units=4)).train.builds(0)
    assert [each.size_bytes for each in builds] == [110 * 3072, 110 * 64, 4 * 110 * 64]


def test_what_is_fitted_at_once_sees_every_image_once() -> None:
    assert costs().price(work(fitted=True)).train.seconds == pytest.approx(110 * 12.1)


def test_what_trials_share_is_made_once_for_each_view() -> None:
    both = costs(views=True, features=True).price(work(frozen_units=4)).train
    kinds = [(each.kind, each.seconds, each.size_bytes) for each in both.builds(view=3)]
    assert kinds == [
        ("images", 0.0, 110 * 3072),
        ("features", pytest.approx(10 * 10.1), 10 * 64),
        ("views", pytest.approx(100 * 0.2), 100 * 3072),
        ("features", pytest.approx(100 * 10.1), 100 * 64),
    ]
    names = [{each.key for each in both.builds(view)} for view in (0, 1)]
    assert len(names[0] & names[1]) == 2


def test_without_augmentation_there_is_one_view() -> None:
    price = costs(features=True).price(work(policy="none", frozen_units=4))
    assert [price.view_of(epoch) for epoch in (1, 2, 9)] == [0, 0, 0]
    assert [costs().price(work(policy="light")).view_of(epoch) for epoch in (1, 2, 9)] == [0, 1, 8]


def test_a_size_that_is_not_decoded_yet_is_decoded_once() -> None:
    price = costs(decoded_px=(), decoding_threads=2).price(work())
    assert [each.seconds for each in price.train.once] == [110 * 0.5 / 2]
