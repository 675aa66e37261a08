"""A plan as one reads it, and as a program does."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from tune_cnn.planning.many import Spread
from tune_cnn.results.display import line
from tune_cnn.results.tables import json_text
from tune_cnn.search.plan import ModelPlan, Plan


def print_plan(plan: Plan, console: Console) -> None:
    """Print a plan."""
    table = Table(box=None, pad_edge=False)
    for column in ("network", "px", "share", "units frozen", "batch", "seconds per epoch", "memory"):
        table.add_column(column, no_wrap=True, justify="left" if column == "network" else "right")
    for model in plan.models:
        _add_rows(table, model)
    console.print(table)
    facts = _facts(plan)
    width = max(map(len, facts))
    for name, text in facts.items():
        console.print(line(f"{name:<{width}}  {text}"), soft_wrap=True)
    if plan.left_out:
        console.print(line(f"not measured, but guessed from the others: {plan.left_out}"), soft_wrap=True)
    for text in plan.missing:
        console.print(line(f"will not start: {text}"), soft_wrap=True)
    for need in plan.needs:
        if not need.fits:
            console.print(line(f"will not fit: {need.text}"), soft_wrap=True)


def plan_json(plan: Plan) -> str:
    """Give a plan as JSON, figures as P10, P50 and P90."""
    return json_text(_plain(asdict(plan)))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_asdict"):
        return [_plain(inner) for inner in value]
    return value._asdict() if hasattr(value, "_asdict") else value


def _facts(plan: Plan) -> dict[str, str]:
    facts = {
        "running": f"{plan.offered.text}, {plan.device}",
        "trials": f"{_count(plan.begun)} of {plan.trials}, {_count(plan.stopped)} of them stopped early; "
        f"{_count(plan.epochs)} epochs",
        "hours": _hours(plan.hours) + f"; {plan.simulated} searches simulated",
    }
    if plan.finals_hours.p90:
        facts["finals"] = f"{_hours(plan.finals_hours)}, within these"
    if plan.room_for is not None:
        facts["budget"] = f"{plan.hours_asked:g} hours have room for {_count(plan.room_for)} trials"
    cache, checkpoints, memory = plan.needs
    kinds = ", ".join(f"{kind} {_span(spread)} GB" for kind, spread in plan.cache_gb.items())
    facts["cache"] = f"{kinds} of the {cache.there_gb:.1f} GB that it may take"
    facts["checkpoints"] = f"up to {checkpoints.needed_gb:.2g} GB; {checkpoints.there_gb:.1f} GB free"
    facts["memory"] = f"up to {memory.needed_gb:.2g} GB of {memory.there_gb:.1f} GB by all trials at a time"
    facts["depths between"] = _accuracy(plan)
    facts["load"] = f"work took {plan.load:.1f} times as long as on this machine alone, and is planned so"
    return facts


def _accuracy(plan: Plan) -> str:
    errors = [error for model in plan.models for error in model.left_out_errors.values()]
    if not errors:
        return "not checked"
    return f"interpolated; where that could be checked, off by {min(errors):+.0%} to {max(errors):+.0%}"


def _add_rows(table: Table, model: ModelPlan) -> None:
    memory = "" if model.peak_memory_mb is None else f"{model.peak_memory_mb:.0f} MB"
    head = (model.key.label, str(model.key.px), f"{model.share:.0%}")
    for number, epoch in enumerate(model.epochs):
        seconds = f"{epoch.seconds:.3g}" + ("" if model.measured else " (guessed)")
        row = (f"{epoch.frozen_units} of {epoch.units}", str(epoch.batch_size), seconds)
        table.add_row(*map(line, (*(head if number == 0 else ("", "", "")), *row, memory if number == 0 else "")))


def _count(spread: Spread) -> str:
    low, middle, high = (round(value) for value in (spread.p10, spread.p50, spread.p90))
    return f"{middle}" if low == high else f"{middle} ({low} to {high})"


def _hours(spread: Spread) -> str:
    return f"{_time(spread.p50)} (P10 {_time(spread.p10)}, P90 {_time(spread.p90)})"


def _time(hours: float) -> str:
    minutes = round(hours * 60)
    if minutes < 2:
        return f"{round(hours * 3600)} s"
    return f"{minutes} min" if minutes < 120 else f"{hours:.1f} h"


def _span(spread: Spread) -> str:
    return (
        f"{spread.p50:.2g}" if spread.p10 == spread.p90 else f"{spread.p50:.2g} ({spread.p10:.2g} to {spread.p90:.2g})"
    )
