"""Check a space against the configs it would produce: every label, both ends of every range."""

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, get_args

from pydantic import BaseModel, ValidationError, model_validator

from tune_cnn.config import TrialConfig
from tune_cnn.config_faults import Fault, faults_of, listing, shown
from tune_cnn.config_shape import Location, Scalar, dotted, is_section, members, nearest
from tune_cnn.sections.image import Policy
from tune_cnn.sections.model import ModelConfig
from tune_cnn.sections.search import METRICS, Metric, SearchConfig
from tune_cnn.space.domains import Choice, Parameter
from tune_cnn.space.faults import Faults
from tune_cnn.space.nodes import Drawn, Named, draw, parameters

BackboneCheck = Callable[[ModelConfig], list[str]]
SizeCheck = Callable[[ModelConfig, int], list[tuple[Location, str]]]
PolicyCheck = Callable[[Policy], list[str]]
Values = dict[str, Scalar]

MOST_PAIRS = 3000  # half a second; the spaces one writes by hand need a few dozen
MOST_COMBINATIONS = 20_000  # a second


class SpaceFile(TrialConfig):
    """A trial's config and the section that says how the search runs: the shape of a space file."""

    search: SearchConfig = SearchConfig()

    @model_validator(mode="after")
    def _metric_is_of_the_task(self) -> Self:
        known = METRICS[self.task]
        foreign = [name for name in self.search.measures if name in get_args(Metric) and name not in known]
        if "metric" in self.search.model_fields_set and foreign:
            raise ValueError(f"search.metric {foreign[0]} is not of task {self.task}; write {listing(known)}")
        return self


def singles(searched: tuple[Parameter, ...]) -> Iterator[Values]:
    """For each corner of each domain, the values that take its branch and the corner; all else at its default."""
    for parameter in searched:
        for corner in parameter.domain.corners:
            yield {**dict(parameter.conditions), parameter.key: corner}


def pairs(searched: tuple[Parameter, ...]) -> Iterator[Values]:
    """For each two corners that can occur together, the values that bring them about."""
    for one, other in itertools.combinations(searched, 2):
        for corner, opposite in itertools.product(one.domain.corners, other.domain.corners):
            first = {**dict(one.conditions), one.key: corner}
            second = {**dict(other.conditions), other.key: opposite}
            if all(second.get(key, value) == value for key, value in first.items()):
                yield first | second


def draw_with(root: Named, values: Values) -> Drawn:
    """A draw that takes these values and, where none is given, the defaults."""
    return draw(root, lambda parameter: values.get(parameter.key, parameter.default))


def check_values(root: Named, search: Any, faults: Faults) -> None:
    """Validate the config of the defaults, of every corner, and of pairs of corners that are judged together.

    Args:
        root: the tree of the space.
        search: the plain search section; None if none is written.
        faults: takes what is found.
    """
    searched = tuple(parameters(root))
    together = tuple(_related(searched))
    two = itertools.chain.from_iterable(pairs(group) for group in together)
    for values in itertools.chain([{}], singles(searched), itertools.islice(two, MOST_PAIRS)):
        drawn = draw_with(root, values)
        tree = drawn.tree if search is None else {**drawn.tree, "search": search}
        try:
            SpaceFile.model_validate(tree)
        except ValidationError as error:
            for fault in faults_of(error, SpaceFile, tree):
                _lay(fault, drawn, values, searched, faults)


def _related(searched: tuple[Parameter, ...]) -> Iterator[tuple[Parameter, ...]]:
    """The parameters below each section that has a check of several names together."""
    for prefix in _sections_with_checks(TrialConfig, ()):
        name = ".".join(prefix)
        below = tuple(each for each in searched if related_names(each.name, name))
        if len(below) > 1:
            yield below


def related_names(one: str, other: str) -> bool:
    """Whether one dotted name is the other, lies below it, or above it."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _sections_with_checks(section: type[BaseModel], prefix: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if section.__pydantic_decorators__.model_validators:
        yield prefix
    for name, field in section.model_fields.items():
        for member in members(field.annotation):
            if is_section(member):
                yield from _sections_with_checks(member, (*prefix, name))


def source_of(location: Location, drawn: Drawn) -> Location:
    """Where in the space file a place of the drawn config comes from."""
    for length in range(len(location), -1, -1):
        if location[:length] in drawn.sources:
            return drawn.sources[location[:length]] + location[length:]
    return location


def _lay(fault: Fault, drawn: Drawn, values: Values, searched: tuple[Parameter, ...], faults: Faults) -> None:
    """Lay a fault of a drawn config to the place of the space file that brought it about."""
    *above, name = fault.location or ("",)
    # What is drawn at a name comes from an option of its choice; the name itself stands above all of them.
    source = (*source_of(tuple(above), drawn), name) if fault.name_fault else source_of(fault.location, drawn)
    by_key = {parameter.key: parameter for parameter in searched}
    ranged = [by_key[key] for key in drawn.values if by_key[key].name == dotted(fault.location)]
    if fault.together:
        probed = {by_key[key].name: value for key, value in values.items()}
        when = " and ".join(f"{name} is {shown(value)}" for name, value in probed.items())
        faults.add(source, fault, again="together", when=f" (when {when})" if when else "")
    elif fault.value_fault and ranged and not isinstance(domain := ranged[-1].domain, Choice):
        value = drawn.values[ranged[-1].key]
        if value in domain.corners:  # what holds at both ends holds between them
            text = f"the range's {'lower' if value == domain.low else 'upper'} end {fault.text}"
            faults.add(source, replace(fault, text=text), again=fault.text.removeprefix(shown(value)))
    else:
        faults.add(source, fault)


def check_weights(root: Named, faults: Faults) -> None:
    """Look for every weights file that `model.weights` names."""
    for drawn in combinations(root, ("model.weights",)):
        model = drawn.tree.get("model")
        weights = model.get("weights") if isinstance(model, dict) else None
        if isinstance(weights, str) and weights not in ("imagenet", "none") and not Path(weights).is_file():
            close = nearest(Path(weights).name, ["imagenet", "none"])
            hint = f"did you mean {close!r}?" if close else "write imagenet, none, or a safetensors file"
            place: Location = ("model", "weights")
            faults.add(source_of(place, drawn), Fault(place, f"{shown(weights)} is no file; {hint}"))


# --- checks that need to know backbones and transforms --------------------------------------------------------------


def combinations(root: Named, names: tuple[str, ...]) -> Iterator[Drawn]:
    """Every combination of corners of the parameters at, below or above these names; all else at its default.

    The values within a list of layers go together, all at their defaults, where they leave most of an image, or where
    they leave least: six layers would else have thousands of combinations, and what does not fit shows at an extreme.
    """
    path: list[tuple[int, int]] = []
    while True:
        depth = 0
        extreme: int | None = None

        def turn(options: int) -> int:
            """The option of this combination at the next fork."""
            nonlocal depth
            if depth == len(path):
                path.append((0, options))
            depth += 1
            return path[depth - 1][0]

        def suggest(parameter: Parameter) -> Scalar:
            nonlocal extreme
            if not any(related_names(parameter.name, name) for name in names):
                return parameter.default
            corners = parameter.domain.corners
            if not _IN_A_LAYER.search(parameter.name):
                return corners[turn(len(corners))]
            if extreme is None:
                extreme = turn(3)
            return (parameter.default, *_extremes(parameter))[extreme]

        yield draw(root, suggest)
        while path and path[-1][0] + 1 == path[-1][1]:
            path.pop()
        if not path:
            return
        path[-1] = (path[-1][0] + 1, path[-1][1])


_IN_A_LAYER = re.compile(r"\.(layers|convolutions)\.[0-9]")


def _extremes(parameter: Parameter) -> tuple[Scalar, Scalar]:
    """The values of a layer that leave most and least of an image: kernels and steps take from it, padding gives."""
    corners = parameter.domain.corners
    numbers = sorted(each for each in corners if isinstance(each, int | float) and not isinstance(each, bool))
    ends = (numbers[0], numbers[-1]) if numbers else (corners[0], corners[-1])
    if not parameter.name.endswith(".padding"):
        return (None if None in corners else ends[0]), ends[1]
    return ("same" if "same" in corners else ends[1]), ("valid" if "valid" in corners else ends[0])


def check_sizes(root: Named, check: SizeCheck, faults: Faults) -> None:
    """Hand every combination of image size, backbone, stages, decoder and unpooled head to `check`."""
    head = ("model.head.features", "model.head.convolutions", "model.decoder")
    names = ("image.px", "model.backbone", "model.stages", *head)
    for drawn in itertools.islice(combinations(root, names), MOST_COMBINATIONS):
        try:
            config = SpaceFile.model_validate(drawn.tree)
        except ValidationError:
            continue  # told already, with its line
        for place, text in check(config.model, config.image.px):
            faults.add(source_of(place, drawn), Fault(place, text))


def check_backbones(root: Named, check: BackboneCheck, faults: Faults) -> None:
    """Hand every combination of backbone, weights, stages, decoder and freeze to `check`, first with nothing frozen."""
    names = ("model.backbone", "model.weights", "model.stages", "model.decoder", "model.freeze")
    for count, drawn in enumerate(combinations(root, names)):
        if count == MOST_COMBINATIONS:
            text = f"more than {count} combinations of backbone, weights and freeze; write fewer choices"
            faults.add(source_of(("model",), drawn), Fault(("model",), text))
            return
        try:
            model = ModelConfig.model_validate(drawn.tree.get("model"))
        except ValidationError:
            continue  # told already, with its line
        unfrozen = check(model.model_copy(update={"freeze": type(model.freeze)()}))
        for text in unfrozen:
            place: Location = ("model", "stages") if text.startswith("stages: ") else ("model", "backbone")
            faults.add(source_of(place, drawn), Fault(place, text.removeprefix("stages: ")))
        written = tuple(name for name in type(model.freeze).model_fields if getattr(model.freeze, name) is not None)
        for text in check(model) if written and not unfrozen else []:
            place = ("model", "freeze", *written)
            faults.add(source_of(place, drawn), Fault(place, text))


def check_policies(root: Named, check: PolicyCheck, faults: Faults) -> None:
    """Hand every transform of every list of transforms to `check`; the named policies need none."""
    searched = tuple(each for each in parameters(root) if related_names(each.name, "augment"))
    seen: set[str] = set()
    for values in itertools.chain([{}], singles(searched), itertools.islice(pairs(searched), MOST_PAIRS)):
        drawn = draw_with(root, values)
        try:
            policy = SpaceFile.model_validate(drawn.tree).augment
        except ValidationError:
            continue  # told already, with its line
        for position, transform in enumerate(() if isinstance(policy, str) else policy):
            written = transform.model_dump_json()
            place: Location = ("augment", position)
            for text in [] if written in seen else check((transform,)):
                faults.add(source_of(place, drawn), Fault(place, text))
            seen.add(written)
