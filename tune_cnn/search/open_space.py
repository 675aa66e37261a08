"""Read a space file and hold it against the backbones and transforms there are. No torch: a typo answers at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tune_cnn.config import ModelConfig, Policy
from tune_cnn.models.catalogue import model_faults
from tune_cnn.space.schema import Space, read_space


@dataclass(frozen=True)
class OpenedSpace:
    """A checked space, and every (backbone, weights) that it may draw."""

    space: Space
    backbones: tuple[tuple[str, str], ...]


def open_space(file: Path, *, overrides: Sequence[str] = (), data_root: Path | None = None) -> OpenedSpace:
    """Read and check a space file.

    Raises:
        SpaceFileError: every fault in it, a line each.
    """
    found: dict[tuple[str, str], None] = {}

    def check_backbone(model: ModelConfig) -> list[str]:
        found[model.backbone, model.weights] = None
        return model_faults(model)

    space = read_space(
        file, overrides=overrides, data_root=data_root, backbone_check=check_backbone, policy_check=_policy_faults
    )
    return OpenedSpace(space, tuple(found))


def _policy_faults(policy: Policy) -> list[str]:
    from tune_cnn.data.augment import check_policy  # takes seconds: only a space that lists transforms pays for it

    return check_policy(policy)
