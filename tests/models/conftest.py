from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tune_cnn.models.classifier import create_backbone

WriteWeights = Callable[..., Path]


@pytest.fixture
def write_weights(tmp_path: Path) -> WriteWeights:
    """Write a backbone's random weights as safetensors: (name, file name, seed, dtype) to the file."""

    def write(name: str, file: str, *, seed: int = 1, dtype: torch.dtype = torch.float32) -> Path:
        torch.manual_seed(seed)
        state = create_backbone(name).state_dict()
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}, path)
        return path

    return write
