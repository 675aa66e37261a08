"""What a stranger hands over is read and never run, and nothing leaves its folder."""

from pathlib import Path

import pytest

from tests.dangers import RULES, Rule, Source
from tests.test_doors import MODULES, name

SAMPLES = [(rule, sample) for rule in RULES for sample in rule.bad]


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_no_module_does_what_is_dangerous(module: Path) -> None:
    source = Source.of(module.read_text())
    assert {rule.id: found for rule in RULES if (found := list(rule.finds(source)))} == {}


@pytest.mark.parametrize(("rule", "sample"), SAMPLES, ids=[f"{rule.id}: {sample}" for rule, sample in SAMPLES])
def test_a_rule_finds_what_it_is_about(rule: Rule, sample: str) -> None:
    assert list(rule.finds(Source.of(sample)))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_lets_pass_what_is_harmless(rule: Rule) -> None:
    assert [sample for sample in rule.good if list(rule.finds(Source.of(sample)))] == []
