"""Checkpoints: tensors in safetensors, everything else in JSON, a digest over both, whole or not at all."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn, optim

from tune_cnn.errors import StoreError
from tune_cnn.files import write_whole

log = logging.getLogger(__name__)

FORMAT = 3
_TENSORS = "state.safetensors"
_PLAIN = "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """The whole state after an epoch; the random draws of an epoch depend on (seed, epoch) alone and need no state."""

    epoch: int
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    schedule: Mapping[str, Any]
    stopping: Mapping[str, Any]
    phase: Mapping[str, Any]
    """Its name and first epoch: a warm-up may have ended early."""
    history: list[dict[str, Any]]
    step: Mapping[str, Any]
    """How steps are made: in which precision, in how small micro-batches, gradients scaled how far."""


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint. The JSON is written last and names the digest of the tensors it belongs to.

    The tensors' file is named by its digest, so that a kill between the two leaves the older pair readable.
    """
    tensors, plain = _split(checkpoint.optimizer)
    tensors |= {f"model/{name}": tensor for name, tensor in checkpoint.model.items()}
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    digest = hashlib.sha256(data).hexdigest()
    name = f"{digest[:16]}.{_TENSORS}"
    body = {
        "format": FORMAT,
        "epoch": checkpoint.epoch,
        "tensors": name,
        "sha256": digest,
        "optimizer": plain,
        "schedule": dict(checkpoint.schedule),
        "stopping": dict(checkpoint.stopping),
        "phase": dict(checkpoint.phase),
        "history": checkpoint.history,
        "step": dict(checkpoint.step),
    }
    write_whole(folder / name, data)
    write_whole(folder / _PLAIN, json.dumps(body))
    for old in folder.glob(f"*.{_TENSORS}"):
        if old.name != name:
            old.unlink()


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Read a checkpoint; None if the folder holds none.

    None too, with a warning, if it is damaged: the trial then begins anew, and comes the same way again.

    Raises:
        StoreError: what is there cannot be read just now.
    """
    plain = folder / _PLAIN
    if not plain.exists():
        return None
    try:
        return _read(folder, json.loads(plain.read_bytes()))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        log.warning("%s: the checkpoint is damaged (%s); the trial begins anew", folder, error)
        return None
    except OSError as error:
        raise StoreError(f"{folder}: the checkpoint cannot be read: {error}") from error


def _read(folder: Path, body: Mapping[str, Any]) -> Checkpoint:
    name = Path(body["tensors"]).name  # a foreign file cannot name one outside its folder
    data = (folder / name).read_bytes()
    if hashlib.sha256(data).hexdigest() != body["sha256"]:
        raise ValueError(f"the SHA-256 of {name} is not the one in {_PLAIN}")
    tensors = load(data)
    return Checkpoint(
        epoch=body["epoch"],
        model={key.removeprefix("model/"): value for key, value in tensors.items() if key.startswith("model/")},
        optimizer=_join(tensors, body["optimizer"]),
        schedule=body["schedule"],
        stopping=body["stopping"],
        phase=body["phase"],
        history=body["history"],
        step=body["step"],
    )


def restore(checkpoint: Checkpoint, model: nn.Module, optimizer: optim.Optimizer) -> None:
    """Put the state of a checkpoint into a model and an optimiser of the same shape."""
    model.load_state_dict(dict(checkpoint.model))
    optimizer.load_state_dict(dict(checkpoint.optimizer))
    # Fused optimisers go through weights and state in the order in which they lie in memory, on a CPU without a look
    # at it; files hold everything contiguous.
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _split(optimizer: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Part an optimiser's state into tensors by flat name, and plain data."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, dict[str, Any]] = {}
    for index, state in optimizer["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{name}"] = value
            else:
                scalars.setdefault(str(index), {})[name] = value
    return tensors, {"scalars": scalars, "param_groups": optimizer["param_groups"]}


def _join(tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in plain["scalars"].items()}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, index, name = key.split("/", 2)
            state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": plain["param_groups"]}
