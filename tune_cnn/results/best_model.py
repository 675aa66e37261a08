"""Bring a trial's best model up to its best epoch, from files alone: no network is built, no torch is imported.

Writing the whole model at each epoch that is better than those before would take longer than many an epoch. So a
checkpoint holds only what can have moved, at the last epoch and at the best one, and `best` may lag behind. What stands
still is the same in every epoch: it comes from the model that lies in `best` already.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tune_cnn.files import read_json, sync_all
from tune_cnn.results.confusion import write_confusion
from tune_cnn.results.records import TrialFolder
from tune_cnn.results.scores import Counts
from tune_cnn.results.trial_files import new_best

log = logging.getLogger(__name__)

STATE = "state.json"
"""The part of a checkpoint that is no tensors; what it says of the best epoch stands under BEST."""
BEST = "best"
MOVING = "model/"
"""What the names of the model's tensors begin with in a checkpoint."""
_OWN = "own_sha256"
"""In STATE and CARD: of all else that they say."""
WEIGHTS, CARD, CONFIG = "model.safetensors", "model.json", "config.yaml"
"""The files of a model folder."""
Tensors = dict[str, NDArray[Any]]
_Count = Annotated[int, Field(ge=0, lt=2**63)]


class DamagedModelError(Exception):
    """A file of a model or a checkpoint is not as it was written; the text says which, in half a line."""


@dataclass(frozen=True)
class BestEpoch:
    """The best epoch so far, as a checkpoint tells of it."""

    epoch: int
    score: float
    val_confusion: list[list[_Count]]
    """(C, C) counts, rows true, columns predicted."""
    tensors: str = ""
    """The file beside the checkpoint that holds what had moved by then; empty for the checkpoint's own."""


_BEST_EPOCH = TypeAdapter(BestEpoch)


def best_told(body: Mapping[str, Any]) -> BestEpoch | None:
    """Give the best epoch that the body of a STATE tells of; None if there was none yet.

    Raises:
        KeyError, ValueError: what stands there tells of none, though not by saying so.
    """
    told = body[BEST]
    return None if told is None else _BEST_EPOCH.validate_python(told)


def tensors_name(epoch: int, data: bytes) -> str:
    """Name a file of tensors by its epoch and the digest of its content."""
    return f"{epoch:05d}-{hashlib.sha256(data).hexdigest()[:32]}.safetensors"


def read_sound(file: Path) -> bytes:
    """Read a file that `tensors_name` has named.

    Raises:
        DamagedModelError: its content is not the one it was named for, or it is no file of tensors at all.
        FileNotFoundError: it is gone.
    """
    if file.suffix != ".safetensors" or file.is_dir():
        raise DamagedModelError(f"{file.name} is no file of tensors")
    data = file.read_bytes()
    if tensors_name(0, data).partition("-")[2] != file.name.partition("-")[2]:
        raise DamagedModelError(f"the content of {file.name} is not what it was named for")
    return data


def state_text(body: Mapping[str, Any]) -> str:
    """Give the text of a checkpoint's STATE: the body, and the digest of it."""
    return json.dumps({**body, _OWN: _digest(body)})


def card_text(body: Mapping[str, Any]) -> str:
    """Give the text of a model's CARD: the body, and the digest of it."""
    return json.dumps({**body, _OWN: _digest(body)}, indent=2, ensure_ascii=False) + "\n"


def read_own(file: Path) -> dict[str, Any]:
    """Read the body that `state_text` or `card_text` wrote.

    Raises:
        DamagedModelError: it is not as it was written.
        ValueError: it is no JSON.
        OSError: it is gone, no file, or cannot be read.
    """
    body = read_json(file)
    if not isinstance(body, dict):
        raise DamagedModelError(f"{file.name} holds no names and values")
    if body.pop(_OWN, None) != _digest(body):
        raise DamagedModelError(f"the content of {file.name} is not what it was written with")
    return body


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body).encode()).hexdigest()


def has_sound_best(folder: TrialFolder) -> bool:
    """Whether there is a best model, every byte of it as it was written."""
    try:
        _whole(folder.best.resolve())
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, DamagedModelError):
        return False
    return True


def bring_up_to_date(folder: TrialFolder) -> None:
    """Let `best` hold the best epoch that the checkpoint tells of, whole and on the disk.

    Nothing to do without a checkpoint, a best epoch or a model. Where one of them is damaged, the model stays the one
    it is, and the log says so.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    there = folder.best.resolve()
    if not (there / CARD).is_file():
        return
    try:
        found = _best_epoch(folder)
        whole = None if found is None else _brought_up(there, *found)
    except (FileNotFoundError, ValueError, KeyError, TypeError, SafetensorError, DamagedModelError) as error:
        log.warning("%s: stays at an earlier epoch (%s)", folder.best, error)
        return
    if whole is None:
        sync_all(there)
        return
    tensors, card, counts, best = whole
    with new_best(folder, best.epoch) as part:
        shutil.copyfile(there / CONFIG, part / CONFIG)
        write_model(part, save(tensors), card)
        write_confusion(part, "val", counts, card["classes"], task=card["task"], durable=False)


def write_model(part: Path, weights: bytes, card: Mapping[str, Any]) -> None:
    """Write a model's weights, and its card with the digests of all files, into a folder that nobody reads yet.

    Its config lies there already.
    """
    config = (part / CONFIG).read_bytes()
    digests = {"sha256": hashlib.sha256(weights).hexdigest(), "config_sha256": hashlib.sha256(config).hexdigest()}
    (part / WEIGHTS).write_bytes(weights)
    (part / CARD).write_text(card_text({**card, **digests}), "utf-8")


def read_sealed(model: Path, card: Mapping[str, Any], name: str = WEIGHTS) -> bytes:
    """Read a model's weights or its config, as they were when its card was written.

    Raises:
        DamagedModelError: they are others.
        OSError: they cannot be read.
    """
    data = (model / name).read_bytes()
    if hashlib.sha256(data).hexdigest() != card["sha256" if name == WEIGHTS else "config_sha256"]:
        raise DamagedModelError(f"damaged, its SHA-256 is not the one that {CARD} names")
    return data


def _best_epoch(folder: TrialFolder) -> tuple[Path, BestEpoch] | None:
    """Find the checkpoint of the training whose model is kept, of folds the first one's, and its best epoch."""
    for place in (folder.last, folder.last / "fold-1"):
        if (place / STATE).is_file():
            best = best_told(read_own(place / STATE))
            return None if best is None else (place, best)
    return None


def _brought_up(there: Path, place: Path, best: BestEpoch) -> tuple[Tensors, dict[str, Any], Counts, BestEpoch] | None:
    """Give the tensors, the card and the confusion of the best epoch; None if they are the ones that are there."""
    card = read_own(there / CARD)
    if (card["epoch"], card["score"]) == (best.epoch, best.score):
        return None
    tensors = _whole(there)
    own = place / Path(best.tensors).name  # a foreign file cannot name one outside its folder
    for name, tensor in load(read_sound(own)).items():
        if name.startswith(MOVING):
            tensors[name.removeprefix(MOVING)] = tensor
    counts = np.array(best.val_confusion, np.int64)
    if counts.shape != (len(card["classes"]),) * 2:
        raise DamagedModelError(f"the confusion of epoch {best.epoch} is not one of {len(card['classes'])} classes")
    return tensors, {**card, "epoch": best.epoch, "score": best.score}, counts, best


def _whole(model: Path) -> Tensors:
    """Read all tensors of a model folder."""
    card = read_own(model / CARD)
    read_sealed(model, card, CONFIG)
    tensors: Tensors = load(read_sealed(model, card))
    return tensors
