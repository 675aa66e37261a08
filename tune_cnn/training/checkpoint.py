"""Checkpoints: tensors in safetensors, everything else in JSON, a digest over both, whole or not at all.

Frozen units are left out: a resumed trial builds them again, from the file of weights or from its seed, and a digest
tells whether they came out the same. The tensors of the best epoch stay beside those of the last.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import NonNegativeInt, TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, optim

from tune_cnn.errors import StoreError
from tune_cnn.files import read_json, write_whole
from tune_cnn.models.network import Network
from tune_cnn.models.prefix_digest import prefix_digests
from tune_cnn.models.units import units_of
from tune_cnn.results.best_model import (
    BEST,
    MOVING,
    STATE,
    BestEpoch,
    DamagedModelError,
    best_told,
    read_own,
    read_sound,
    state_text,
    tensors_name,
)

log = logging.getLogger(__name__)

FORMAT = 5
_BEFORE = "state-before.json"
"""The checkpoint of the epoch before, which is gone back to where the last one is damaged."""
_DAMAGE = (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, SafetensorError, DamagedModelError)


@dataclass(frozen=True)
class Checkpoint:
    """The whole state after an epoch; the random draws of an epoch depend on (seed, epoch) alone and need no state."""

    epoch: int
    model: Mapping[str, Tensor]
    """All but the frozen units."""
    frozen_units: int
    frozen_sha256: str
    """Of the tensors of the frozen units."""
    optimizer: Mapping[str, Any]
    schedule: Mapping[str, Any]
    stopping: Mapping[str, Any]
    phase: Mapping[str, Any]
    """Its name and first epoch: a warm-up may have ended early."""
    history: list[dict[str, Any]]
    step: Mapping[str, Any]
    """How steps are made: in which precision, in how small micro-batches, gradients scaled how far."""


@dataclass(frozen=True)
class _PlainOptimizer:
    scalars: dict[NonNegativeInt, dict[str, Any]]
    param_groups: list[dict[str, Any]]


@dataclass(frozen=True)
class _Plain:
    """The body of a STATE, but for its format and the best epoch."""

    epoch: NonNegativeInt
    tensors: str
    frozen_units: NonNegativeInt
    frozen_sha256: str
    optimizer: _PlainOptimizer
    schedule: dict[str, Any]
    stopping: dict[str, Any]
    phase: dict[str, Any]
    history: list[dict[str, Any]]
    step: dict[str, Any]


_PLAIN = TypeAdapter(_Plain)


def moving_state(model: Network) -> dict[str, Tensor]:
    """Copy to the CPU what of a model can have moved: all but its frozen units."""
    still = _of_frozen_units(model, model.frozen_units)
    state = model.state_dict(keep_vars=True).items()
    return {name: each.detach().to("cpu", copy=True).contiguous() for name, each in state if id(each) not in still}


def frozen_digest(model: Network, units: int) -> str:
    """Give a digest of the names and values of the first `units` units, frozen or not."""
    return prefix_digests(model, units)[-1]


def _of_frozen_units(model: Network, units: int) -> frozenset[int]:
    modules = [module for _, module in units_of(model.trunk)[:units]]
    return frozenset(id(each) for module in modules for each in (*module.parameters(), *module.buffers()))


def save_checkpoint(
    folder: Path, checkpoint: Checkpoint, best: BestEpoch | None, *, durable: bool = True
) -> BestEpoch | None:
    """Write a checkpoint. The JSON is written last and names the files of tensors it belongs to.

    These are named by their digest, so that a kill between the two leaves the older files readable.

    Args:
        folder: which may hold older checkpoints of the training; the one before is kept, and what `best` names.
        checkpoint: the state.
        best: the best epoch so far, without a file if it is this one; None if no epoch has had a score.
        durable: whether to wait until the disk has it. A power cut may damage one that it has not.

    Returns:
        The best epoch, and the file that holds its tensors.
    """
    tensors, plain = _split(checkpoint.optimizer)
    tensors |= {f"{MOVING}{name}": tensor for name, tensor in checkpoint.model.items()}
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    name = tensors_name(checkpoint.epoch, data)
    if best is not None and not best.tensors:
        best = replace(best, tensors=name)
    body = {
        "format": FORMAT,
        "epoch": checkpoint.epoch,
        "tensors": name,
        BEST: None if best is None else asdict(best),
        "frozen_units": checkpoint.frozen_units,
        "frozen_sha256": checkpoint.frozen_sha256,
        "optimizer": plain,
        "schedule": dict(checkpoint.schedule),
        "stopping": dict(checkpoint.stopping),
        "phase": dict(checkpoint.phase),
        "history": checkpoint.history,
        "step": dict(checkpoint.step),
    }
    write_whole(folder / name, data, durable=durable)
    _set_aside(folder)
    write_whole(folder / STATE, state_text(body), durable=durable)
    named = {*_files_of(body), *_files_of(_json_or_nothing(folder / _BEFORE))}
    for old in folder.glob("*.safetensors"):
        if old.name not in named:
            old.unlink()
    return best


def load_checkpoint(folder: Path, model: Network) -> tuple[Checkpoint, BestEpoch | None] | None:
    """Read a checkpoint, and its best epoch; None if the folder holds none.

    One that is damaged or of another version is passed over, with a warning, for the one before it. None too, with a
    warning, if there is no sound one, or it was begun on other frozen weights than those of `model`: the trial then
    begins anew, and comes the same way again if its weights are the same.

    Raises:
        StoreError: what is there cannot be read just now.
    """
    if not any((folder / name).exists() for name in (STATE, _BEFORE)):
        return None
    found = _sound(folder, STATE)
    if found is None:
        found = _sound(folder, _BEFORE)
        if found is None:
            log.warning("%s: no checkpoint is left; the trial begins anew", folder)
            return None
        log.warning("%s: goes on from the checkpoint of epoch %d, the one before", folder, found[0].epoch)
        (folder / _BEFORE).replace(folder / STATE)
    checkpoint, best = found
    if checkpoint.frozen_sha256 != frozen_digest(model, checkpoint.frozen_units):
        log.warning("%s: the frozen weights are not those of the checkpoint; the trial begins anew", folder)
        return None
    return checkpoint, best


def _sound(folder: Path, name: str) -> tuple[Checkpoint, BestEpoch | None] | None:
    """Read the checkpoint that a file tells of; None if there is no such file, and with a warning if it is damaged."""
    plain = folder / name
    if not plain.exists():
        return None
    try:
        return _read(folder, read_own(plain))
    except _DAMAGE as error:
        log.warning("%s: the checkpoint is damaged (%s)", folder, error)
        return None
    except OSError as error:
        raise StoreError(f"{folder}: the checkpoint cannot be read: {error}") from error


def _set_aside(folder: Path) -> None:
    """Keep the checkpoint that is there as the one before. At no moment is there none."""
    part = folder / f".{_BEFORE}.part"
    part.unlink(missing_ok=True)
    try:
        part.hardlink_to(folder / STATE)
    except FileNotFoundError:  # the first one
        return
    except OSError:  # a file system without hard links
        (folder / STATE).replace(folder / _BEFORE)
        return
    part.replace(folder / _BEFORE)


def _files_of(body: Any) -> set[str]:
    """Name the files of tensors that a checkpoint needs; none if it is damaged."""
    try:
        return {body["tensors"], *([body[BEST]["tensors"]] if body[BEST] else [])}
    except (KeyError, TypeError):
        return set()


def _json_or_nothing(file: Path) -> Any:
    try:
        return read_json(file)
    except (FileNotFoundError, ValueError):
        return None


def _read(folder: Path, body: Mapping[str, Any]) -> tuple[Checkpoint, BestEpoch | None]:
    if body["format"] != FORMAT:
        raise DamagedModelError(f"format {body['format']}, but this version of tune-cnn reads {FORMAT}")
    best, plain = best_told(body), _PLAIN.validate_python(body)
    if best is not None:
        read_sound(folder / Path(best.tensors).name)
    # A foreign file cannot name one outside its folder.
    tensors = load(read_sound(folder / Path(plain.tensors).name))
    checkpoint = Checkpoint(
        epoch=plain.epoch,
        model={key.removeprefix(MOVING): value for key, value in tensors.items() if key.startswith(MOVING)},
        frozen_units=plain.frozen_units,
        frozen_sha256=plain.frozen_sha256,
        optimizer=_join(tensors, plain.optimizer),
        schedule=plain.schedule,
        stopping=plain.stopping,
        phase=plain.phase,
        history=plain.history,
        step=plain.step,
    )
    return checkpoint, best


def restore(checkpoint: Checkpoint, model: Network, optimizer: optim.Optimizer) -> None:
    """Put the state of a checkpoint into a model and an optimiser of the same shape; frozen units stay as they are."""
    restore_model(checkpoint, model)
    optimizer.load_state_dict(dict(checkpoint.optimizer))
    # Fused optimisers go through weights and state in the order in which they lie in memory, on a CPU without a look
    # at it; files hold everything contiguous.
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def restore_model(checkpoint: Checkpoint, model: Network) -> None:
    """Put what had moved into a model of the same shape; frozen units stay as they are."""
    model.load_state_dict({**model.state_dict(), **checkpoint.model})


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


def _join(tensors: Mapping[str, Tensor], plain: _PlainOptimizer) -> dict[str, Any]:
    state = {index: dict(values) for index, values in plain.scalars.items()}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, index, name = key.split("/", 2)
            state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": plain.param_groups}
