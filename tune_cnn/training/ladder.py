"""The cuts at which the features of a network are kept on this machine: measured and proved once, noted in the cache.

All trials on a machine read the same note, so that they choose alike and share what they keep.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tune_cnn.data.cache import Cache
from tune_cnn.models.cut import InexactCutError
from tune_cnn.models.network import Network
from tune_cnn.models.prefix_digest import structure_digest
from tune_cnn.models.tail import cut_network, freeze_depths
from tune_cnn.training.batches import Batches
from tune_cnn.training.cut_choice import Costs, choose_rungs
from tune_cnn.training.cut_costs import measure_costs
from tune_cnn.training.features import FORMAT_VERSION, PROVED_ON, Form, Forms, Setting

log = logging.getLogger(__name__)
KIND = "cuts"


@dataclass(frozen=True)
class Ladder:
    """The cuts worth having, from the input on, and what they cost."""

    costs: Costs
    rungs: Mapping[int, Forms]
    """By the number of units before the cut."""

    def as_json(self) -> dict[str, Any]:
        """Give plain data that `from_json` reads back."""
        rungs = {cut: [form.as_json() for form in forms] for cut, forms in self.rungs.items()}
        return {"costs": self.costs.as_json(), "rungs": rungs}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Ladder":
        """Read what `as_json` gave."""
        rungs = {int(cut): tuple(Form.from_json(form) for form in forms) for cut, forms in data["rungs"].items()}
        return cls(Costs.from_json(data["costs"]), rungs)


def find_ladder(model: Network, setting: Setting, view: Batches, cache: Cache) -> Ladder:
    """Give the ladder of a network on this machine; the first trial that asks measures it, in about a second.

    Args:
        model: whatever of it is frozen, and whatever its weights: neither changes what a unit costs.
        setting: with what it is computed.
        view: images to try it on, one at least.
        cache: holds the note.
    """

    def make() -> dict[str, Any]:
        with setting.computing():
            return prove_ladder(model, view, setting, measure_costs(model, view, setting)).as_json()

    return Ladder.from_json(cache.note(KIND, ladder_key(model, setting), make))


def ladder_key(model: Network, setting: Setting) -> str:
    """Name the ladder of a network: of all that are built alike and computed with the same."""
    made_of = [FORMAT_VERSION, structure_digest(model), model.gives, type(model).__name__]
    return hashlib.sha256(json.dumps([*made_of, *_top(model), *setting.parts()]).encode()).hexdigest()[:32]


def _top(model: Network) -> list[str]:
    """What stands on the backbone decides what it takes of several maps."""
    return [] if model.can_be_cut_inside else [type(getattr(model, "decoder", None)).__name__]


def prove_ladder(model: Network, view: Batches, setting: Setting, costs: Costs) -> Ladder:
    """Choose the rungs by their costs, and try each on a few images; for one that is not exact others are chosen."""
    images = setting.arranged(view.sample(PROVED_ON))
    proved: dict[int, Forms | None] = {}
    while True:
        rungs = choose_rungs(
            costs, freeze_depths(model), without={cut for cut, forms in proved.items() if forms is None}
        )
        new = [cut for cut in rungs if cut not in proved]
        if not new:
            return Ladder(costs, {cut: forms for cut in rungs if (forms := proved[cut])})
        proved |= {cut: _proved(model, cut, images) for cut in new}


def _proved(model: Network, cut: int, images: Tensor) -> Forms | None:
    """Give the form of what is cut off; None if the cut is not exact."""
    try:
        activation = cut_network(model, cut, images).prove(images)
    except InexactCutError as error:
        log.info("no features are kept there: %s", error)
        return None
    return tuple(Form.of(tensor) for tensor in activation)
