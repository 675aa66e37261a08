"""Read the tree of a space file: which values are fixed, which are searched, and over what."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_cnn.config_faults import Fault, shown
from tune_cnn.config_shape import Location, Scalar, child, dotted, members, nearest, section_for
from tune_cnn.space.domains import Choice, FloatRange, IntRange, Parameter, Range, on_grid, written
from tune_cnn.space.faults import Faults
from tune_cnn.space.nodes import Fixed, Items, Named, Node, Searched
from tune_cnn.yaml_files import plain_scalar

_LONGEST_LABEL = 80

NOT_WRITTEN: dict[Location, str] = {
    ("seed",): "does not stand in a space file; the seed of each trial follows from search.seed, write that",
    ("cpu_threads",): "does not stand in a space file; write search.per_trial.cpus, a trial gets as many threads",
    ("model", "weights_file"): "does not stand in a space file; write model.weights, the search resolves it to a file",
}
NOT_SEARCHED: dict[Location, str] = {
    ("name",): "names the search",
    ("task",): "decides what is compared",
    ("data",): "decides what is compared, and trials are compared on the same data",
    ("search",): "says how the search itself runs",
}


@dataclass(frozen=True)
class _Spot:
    """Where the reader stands: in the file, in the config, in the sampler's names, and in the config's types."""

    source: Location
    location: Location
    key: str
    annotation: Any
    default: Any = None
    conditions: tuple[tuple[str, Scalar], ...] = ()

    def below(self, part: str | int, raw: Any) -> "_Spot":
        section = section_for(self.annotation, _settled(raw))
        field = section.model_fields.get(str(part)) if section else None
        return _Spot(
            (*self.source, part),
            (*self.location, part),
            f"{self.key}.{part}" if self.key else str(part),
            child(self.annotation, part, _settled(raw)),
            field.get_default() if field and not field.is_required() else None,
            self.conditions,
        )

    def option(self, position: int | str, label: Scalar) -> "_Spot":
        text = label if isinstance(label, str) else shown(label)
        return _Spot(
            (*self.source, "choice", position),
            self.location,
            f"{self.key}[{text}]",
            self.annotation,
            self.default,
            (*self.conditions, (self.key, label)),
        )


def is_expression(raw: Any) -> bool:
    """Whether a value is written as searched. No section of a config has a name `choice` or `range`."""
    return isinstance(raw, dict) and ("choice" in raw or "range" in raw)


def _settled(raw: Any) -> Any:
    """A section with a fixed `kind`: the default one where the kind is searched."""
    kind: Any = raw.get("kind") if isinstance(raw, dict) else None
    if is_expression(kind) and isinstance(kind.get("choice"), list) and kind["choice"]:
        return {**raw, "kind": kind.get("default", kind["choice"][0])}
    return raw


def read_tree(raw: dict[str, Any], annotation: Any, faults: Faults, base_dir: Path) -> Named:
    """The tree of a space file, its search section left out.

    Args:
        raw: the plain tree of the file.
        annotation: the config's type, whose own defaults become the defaults of ranges.
        faults: takes what is wrong with the expressions; what is wrong with the values is for other checks.
        base_dir: what a file in `model.weights` is relative to; absolute in the tree, so that labels say the same
            wherever the space is read again.
    """
    settled = _with_absolute_weights(raw, (), base_dir)
    return Named(_Reader(faults).children(settled, _Spot((), (), "", annotation)), ())


def _with_absolute_weights(raw: Any, location: Location, base_dir: Path) -> Any:
    if is_expression(raw):
        return {
            part: {name: _with_absolute_weights(option, location, base_dir) for name, option in inner.items()}
            if part == "choice" and isinstance(inner, dict)
            else _with_absolute_weights(inner, location, base_dir)
            for part, inner in raw.items()
        }
    if isinstance(raw, dict):
        return {name: _with_absolute_weights(inner, (*location, name), base_dir) for name, inner in raw.items()}
    if isinstance(raw, list):
        return [_with_absolute_weights(inner, location, base_dir) for inner in raw]
    if location != ("model", "weights") or not isinstance(raw, str) or raw in ("imagenet", "none"):
        return raw
    return str(base_dir / Path(raw).expanduser())


class _Reader:
    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.keys: set[str] = set()

    def node(self, raw: Any, spot: _Spot) -> Node:
        if is_expression(raw):
            return self._expression(raw, spot)
        if isinstance(raw, dict):
            return Named(self.children(raw, spot), spot.source)
        if isinstance(raw, list):
            return Items(tuple(self.node(inner, spot.below(i, raw)) for i, inner in enumerate(raw)), spot.source)
        return Fixed(raw, spot.source)

    def children(self, raw: dict[str, Any], spot: _Spot) -> dict[str, Node]:
        children = {}
        for name, inner in raw.items():
            below = spot.below(name, raw)
            if (reason := NOT_WRITTEN.get(below.location)) is not None:
                self.faults.breaks(below.source, below.location, reason)
            else:
                children[name] = self.node(inner, below)
        return children

    def _expression(self, raw: dict[str, Any], spot: _Spot) -> Node:
        for fixed, reason in NOT_SEARCHED.items():
            if spot.location[: len(fixed)] == fixed:
                return self._broken(spot, f"cannot be searched: it {reason}; write one value")
        known = ("choice", "default") if "choice" in raw else ("range", "log", "step", "default")
        if "choice" in raw and "range" in raw:
            return self._broken(spot, "has a choice and a range; keep one of the two")
        if unknown := [name for name in raw if name not in known]:
            return self._broken(spot, self._unknown(unknown[0], known))
        if spot.key in self.keys:
            return self._broken(spot, f"a name with brackets or dots makes a second {spot.key}; rename it")
        self.keys.add(spot.key)
        return self._choice(raw, spot) if "choice" in raw else self._range(raw, spot)

    def _unknown(self, name: str, known: tuple[str, ...]) -> str:
        close = nearest(name, known)
        return f"{name} is no part of a {known[0]}; " + (
            f"did you mean {close!r}?" if close else f"known: {', '.join(known)}"
        )

    def _broken(self, spot: _Spot, text: str) -> Node:
        self.faults.breaks(spot.source, spot.location, text)
        return Fixed(None, spot.source)

    # --- choices ---

    def _choice(self, raw: dict[str, Any], spot: _Spot) -> Node:
        if isinstance(named := raw["choice"], dict) and named:
            return self._named_choice(raw, named, spot)
        options = raw["choice"]
        if not isinstance(options, list) or not options:
            what = "is empty" if options in ([], {}) else f"{shown(options)} is not a list"
            return self._broken(spot, f"the choice {what}; write {{choice: [a, b]}}")
        labels = labels_of(options)
        for position, label in enumerate(labels):
            if label in labels[:position]:
                first = options[labels.index(label)]
                same = shown(label) if type(first) is type(label) else f"{shown(label)} (equal to {shown(first)})"
                return self._broken(spot, f"the choice offers {same} twice; keep one")
        nodes = tuple(
            self.node(option, spot.option(position, label))
            for position, (option, label) in enumerate(zip(options, labels, strict=True))
        )
        default = self._default_label(raw, options, labels, spot)
        parameter = Parameter(spot.key, dotted(spot.location), Choice(labels), default, spot.conditions)
        return Searched(parameter, nodes, spot.source)

    def _named_choice(self, raw: dict[str, Any], named: dict[str, Any], spot: _Spot) -> Node:
        """A choice among sections or lists that go by names of the user's: `{choice: {small: …, large: …}}`."""
        for name, option in named.items():
            if not isinstance(option, dict | list):
                return self._broken(
                    spot, f"names in a choice are for sections and lists, and {name} is {shown(option)}; write a list"
                )
        nodes = tuple(self.node(option, spot.option(name, name)) for name, option in named.items())
        labels = tuple(named)
        default = self._default_label(raw, list(named.values()), labels, spot)
        parameter = Parameter(spot.key, dotted(spot.location), Choice(labels), default, spot.conditions)
        return Searched(parameter, nodes, spot.source, named=True)

    def _default_label(
        self, raw: dict[str, Any], options: list[Any], labels: tuple[Scalar, ...], spot: _Spot
    ) -> Scalar:
        if "default" not in raw:
            return labels[0]
        default = raw["default"]
        for option, label in zip(options, labels, strict=True):
            if _same(default, option) or _same(default, label):
                return label
        offered = Choice(labels).text
        text = f"{shown(default)} is none of the choice; write one of it, a {offered}"
        self.faults.add((*spot.source, "default"), _fault(spot, f"the default {text}"))
        return labels[0]

    # --- ranges ---

    def _range(self, raw: dict[str, Any], spot: _Spot) -> Node:
        domain = _range_of(raw)
        if isinstance(domain, str):
            return self._broken(spot, domain)
        if (text := _type_fault(domain, spot.annotation)) is not None:
            return self._broken(spot, text)
        parameter = Parameter(
            spot.key, dotted(spot.location), domain, self._default_number(raw, domain, spot), spot.conditions
        )
        return Searched(parameter, (), spot.source)

    def _default_number(self, raw: dict[str, Any], domain: Range, spot: _Spot) -> Scalar:
        if "default" not in raw:
            return self._own_default(domain, spot.default)
        default = raw["default"]
        text = _not_a_number(default)
        if text is None and not domain.low <= default <= domain.high:
            text = f"{shown(default)} is outside the range; write {domain.low:g} to {domain.high:g}"
        elif text is None and not math.isclose(domain.nearest(default), default, rel_tol=1e-9):
            text = f"{shown(default)} is not on the range's steps; write {domain.nearest(default):g}"
        if text is None:
            return domain.nearest(default)
        self.faults.add((*spot.source, "default"), _fault(spot, f"the default {text}"))
        return domain.middle

    @staticmethod
    def _own_default(domain: Range, default: Any) -> Scalar:
        """The config's own default where the range holds it, else the middle."""
        number = isinstance(default, int | float) and not isinstance(default, bool)
        return domain.nearest(default) if number and domain.low <= default <= domain.high else domain.middle


def _fault(spot: _Spot, text: str) -> Fault:
    return Fault(spot.location, text)


def _same(one: Any, other: Any) -> bool:
    """Equal, and a truth value only to a truth value."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _not_a_number(value: Any) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return None
    if isinstance(value, str) and isinstance(plain_scalar(value), int | float):
        return f"{shown(value)} in quotes is text; drop the quotes: {value}"
    return f"{shown(value)} is not a number; write e.g. {{range: [0.0, 0.5]}}"


def _type_fault(domain: Range, annotation: Any) -> str | None:
    """What is wrong with a range of numbers where this annotation stands; None if they fit or anything does."""
    taken = members(annotation)
    if Any in taken or float in taken or (int in taken and isinstance(domain, IntRange)):
        return None
    if int in taken:
        return f"takes whole numbers only; write {{range: [{domain.low:.0f}, {domain.high:.0f}]}}"
    return "takes no numbers between two others; write {choice: [a, b]}"


def _range_of(raw: dict[str, Any]) -> Range | str:
    """The range, or what is wrong with it."""
    ends, log, step = raw["range"], raw.get("log", False), raw.get("step")
    if not isinstance(ends, list) or len(ends) != 2:
        return "a range has two ends; write {range: [low, high]}"
    for end in (*ends, *([] if step is None else [step])):
        if (text := _not_a_number(end)) is not None:
            return text
    if not isinstance(log, bool):
        return f"log is {shown(log)}; write true or false"
    low, high = ends
    return _order_fault(low, high) or _scale_fault(low, log=log, step=step) or _made(low, high, log, step)


def _order_fault(low: float, high: float) -> str | None:
    if low > high:
        return f"the range begins at {shown(low)}, above its end {shown(high)}; write {{range: [{high}, {low}]}}"
    if low == high:
        return f"the range begins and ends at {shown(low)}; write the value itself, {low}"
    return None


def _scale_fault(low: float, *, log: bool, step: float | None) -> str | None:
    if log and low <= 0:
        return f"a logarithmic range cannot begin at {shown(low)}; write a low end above 0, e.g. 1e-5"
    if log and step is not None:
        return "log and step exclude each other; keep one of them"
    if step is not None and step <= 0:
        return f"the step {shown(step)} leads nowhere; write a step above 0"
    return None


def _made(low: float, high: float, log: bool, step: float | None) -> Range | str:
    if step is not None and step > high - low:
        return f"the step {shown(step)} is longer than the range; write {high - low:g} at most"
    if isinstance(low, int) and isinstance(high, int):
        if isinstance(step, float):
            return f"the step {shown(step)} is not whole, but both ends are; write whole numbers or [{low}.0, {high}.0]"
        return IntRange(low, low + (high - low) // (step or 1) * (step or 1), log, step or 1)
    low, high = float(low), float(high)
    if step is None:
        return FloatRange(low, high, log)
    # 1e-9: 0.3 / 0.1 is a little less than 3 in binary fractions.
    return FloatRange(low, on_grid(low, step, math.floor((high - low) / step + 1e-9)), log, float(step))


def labels_of(options: list[Any]) -> tuple[Scalar, ...]:
    """A label for each option of a choice.

    Scalars stand for themselves; sections go by their `kind` where that tells them apart; all else goes by one line of
    JSON, clipped and numbered where it is long.
    """
    names = [option["kind"] if _has_kind(option) else option for option in options]
    scalars = [name for name in names if not isinstance(name, dict | list)]
    labels: list[Scalar] = []
    for position, (option, name) in enumerate(zip(options, names, strict=True)):
        if not isinstance(option, dict | list) or (isinstance(name, str) and scalars.count(name) == 1):
            labels.append(name)
        else:
            text = json.dumps(_bare(option), ensure_ascii=False, separators=(",", ":"))
            is_long = len(text) > _LONGEST_LABEL or text in scalars
            labels.append(f"{text[: _LONGEST_LABEL - 6]}…#{position}" if is_long else text)
    return tuple(labels)


def _bare(raw: Any) -> Any:
    """An option without defaults and with its ranges in their one form, so that a label outlives a rewriting."""
    if isinstance(raw, list):
        return [_bare(inner) for inner in raw]
    if not isinstance(raw, dict):
        return raw
    if "range" in raw and not isinstance(domain := _range_of(raw), str):
        return written(domain)
    return {name: _bare(inner) for name, inner in raw.items() if name != "default" or "choice" not in raw}


def _has_kind(option: Any) -> bool:
    return isinstance(option, dict) and isinstance(option.get("kind"), str)
