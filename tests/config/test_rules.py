"""Each rule is documented, and its two samples show what it says."""

from __future__ import annotations

import re

import pytest

from ava.config import RULES, validate
from ava.errors import Rule
from ava.load import load_text

SECTIONS = ["What it does", "Why is this bad", "Example", "Use instead"]
ELSEWHERE = {"broken-term"}  # needs another package


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_rule_is_documented(rule: Rule) -> None:
    assert re.fullmatch(r"AVA[136]\d\d", rule.code)
    assert re.findall(r"^## (.*)$", rule.doc, re.MULTILINE) == SECTIONS


def test_codes_and_names_are_unique() -> None:
    assert len({rule.code for rule in RULES}) == len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.name not in ELSEWHERE], ids=lambda rule: rule.name)
def test_the_samples_show_it(rule: Rule) -> None:
    bad, good = re.findall(r"```yaml\n(.*?)\n```", rule.doc, re.DOTALL)
    _, found = validate(load_text(bad))
    assert rule.code in {item.code for item in found}
    assert validate(load_text(good))[1] == ()
