from pathlib import Path

import pytest

from tests.conftest import trial_config
from tests.space.made import space_of
from tune_cnn.data.cache import Cache
from tune_cnn.errors import InputError
from tune_cnn.planning.gpu_share import MOST_ON_A_GPU, greediest, share_of_gpu
from tune_cnn.planning.slots import share_out
from tune_cnn.sections.search import PerTrial
from tune_cnn.training.gpu_memory import gpu_memory


@pytest.mark.parametrize(
    ("used_mb", "total_mb", "trials"),
    [
        pytest.param(70_000, 80_000, 1, id="one-fills-it"),
        pytest.param(90_000, 80_000, 1, id="more-than-there-is"),
        pytest.param(40_000, 80_000, 1, id="two-would-leave-nothing-to-spare"),
        pytest.param(32_000, 80_000, 2, id="two"),
        pytest.param(20_000, 80_000, 3, id="three"),
        pytest.param(9_000, 80_000, 7, id="seven"),
        pytest.param(600, 80_000, MOST_ON_A_GPU, id="small-ones-would-wait-for-each-other"),
    ],
)
def test_as_many_trials_share_a_gpu_as_its_memory_holds(used_mb: float, total_mb: float, trials: int) -> None:
    share = share_of_gpu(used_mb=used_mb, total_mb=total_mb)
    assert round(share * 10_000) == pytest.approx(share * 10_000)  # what Ray can count
    assert int(1 / share) == trials
    assert trials * share <= 1
    offered = share_out(cpus=64, gpus=4, per_trial=PerTrial(gpus="auto"), concurrent=None, gpu_share=share)
    assert (offered.per_trial_gpus, offered.concurrent) == (share, 4 * trials)


@pytest.mark.parametrize(
    ("asked", "gpus", "given"),
    [
        pytest.param(None, 2, 1.0, id="nothing-written"),
        pytest.param(0.5, 2, 0.5, id="a-number"),
        pytest.param(0.0, 2, 0.0, id="none-wanted"),
        pytest.param("auto", 2, 0.25, id="auto"),
        pytest.param("auto", 0, 0.0, id="auto-without-a-gpu"),
        pytest.param(2.0, 0, 0.0, id="a-number-without-a-gpu"),
    ],
)
def test_where_there_is_no_gpu_trials_run_on_cpus(asked: float | str | None, gpus: float, given: float) -> None:
    per_trial = PerTrial.model_validate({"gpus": asked})
    offered = share_out(cpus=4, gpus=gpus, per_trial=per_trial, concurrent=None, gpu_share=0.25)
    assert offered.per_trial_gpus == given


def test_more_than_there_is_cannot_be_had() -> None:
    with pytest.raises(InputError, match=r"asks for 1 CPUs and 2 GPUs, but there are only 4 and 1; write less"):
        share_out(cpus=4, gpus=1, per_trial=PerTrial(gpus=2), concurrent=None)


def test_of_each_network_the_greediest_is_measured(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        model__backbone={"choice": ["resnet18", "mobilenetv3_small_050"]},
        model__freeze__depth={"choice": [0.0, 0.5, 1.0]},
        training__batch_size={"choice": [8, 64]},
        image__px={"choice": [64, 128]},
    )
    found = greediest(space)
    assert {config.model.backbone_name for config in found} == {"resnet18", "mobilenetv3_small_050"}
    assert [(config.training.batch_size, config.image.px, config.model.freeze.depth) for config in found] == [
        (64, 128, 0.0)
    ] * 2


def test_without_a_gpu_there_is_no_memory_to_measure(tmp_path: Path) -> None:
    assert gpu_memory([trial_config(tmp_path)], 3, Cache(tmp_path)) is None
