"""Every rule of advice: documented, shown by its own example and cases, silent about what to use instead."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ava.config import ROSTER
from ava.config.starter import starter
from ava.errors import Rule
from ava.lint import RULES, Project
from ava.lint.registry import CONFIG_RULES
from ava.lint.run import Job, lint_sources
from ava.lint.settings import Settings
from ava.load import list_presets, load, load_text

ADVICE = [rule for rule in RULES if rule.severity != "error"]
CASES = {
    code: cases
    for path in sorted((Path(__file__).parent / "cases").glob("*.yaml"))
    for code, cases in yaml.safe_load(path.read_text(encoding="utf-8")).items()
}
SECTIONS = ["What it does", "Why is this bad", "Example", "Use instead"]
PROJECTS = [
    Project(),
    Project(sequence_length=1024, batch_size=8, training_steps=100_000, dtype="bfloat16"),
    Project(sequence_length=2048, batch_size=64, training_steps=1, dtype="float16"),
    Project(sequence_length=8192, batch_size=1, training_steps=10**7, dtype="float32"),
]
SHIPPED = [preset.name for preset in list_presets() if preset.origin == "shipped"]


NOTHING = Project()


def found(text: str, project: Project = NOTHING) -> list[str]:
    """Return the codes of what linting finds in ``text``."""
    findings = lint_sources([Job(load_text(text), settings=Settings(project=project))])
    return [finding.code for finding in findings]


def cases(kind: str) -> list[Any]:
    """Return every case of a kind as a parameter: code, text, project."""
    return [
        pytest.param(code, f"version: 1\n{text}", Project(**project), id=f"{code}-{index}")
        for code, of_code in CASES.items()
        for index, case in enumerate(of_code[kind])
        for text, project in [(case, {}) if isinstance(case, str) else (case["text"], case["project"])]
    ]


def test_there_are_many_and_each_has_one_code_and_one_name() -> None:
    assert len({rule.code for rule in RULES}) == len({rule.name for rule in RULES}) == len(RULES) >= 40
    assert len(ADVICE) >= 25
    own = [rule for term in ROSTER.values() for rule in term.rules]
    assert {rule.code for rule in (*CONFIG_RULES, *own)} <= {rule.code for rule in RULES}


@pytest.mark.parametrize("rule", ADVICE, ids=lambda rule: rule.code)
def test_a_rule_is_documented_and_its_samples_show_it(rule: Rule) -> None:
    assert re.fullmatch(r"AVA[2345]\d\d", rule.code)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.name)
    assert re.findall(r"^## (.*)$", rule.doc, re.MULTILINE) == SECTIONS
    bad, good = re.findall(r"```yaml\n(.*?)\n```", rule.doc, re.DOTALL)
    project = getattr(rule, "project", Project())
    assert rule.code in found(bad, project)
    assert found(good, project) == []


def test_every_rule_of_advice_has_cases() -> None:
    assert list(CASES) == [rule.code for rule in ADVICE]
    assert all(of_code["fail"] and of_code["pass"] for of_code in CASES.values())


@pytest.mark.parametrize(("code", "text", "project"), cases("fail"))
def test_it_is_found(code: str, text: str, project: Project) -> None:
    assert found(text, project).count(code) == 1


@pytest.mark.parametrize(("code", "text", "project"), cases("pass"))
def test_it_is_not_found(code: str, text: str, project: Project) -> None:
    codes = found(text, project)
    assert code not in codes
    assert not any(code.startswith(("AVA0", "AVA1", "AVA6")) for code in codes), "the case is wrong itself"


@pytest.mark.parametrize("project", PROJECTS)
@pytest.mark.parametrize("name", SHIPPED)
def test_no_rule_fires_on_a_preset(name: str, project: Project) -> None:
    assert lint_sources([Job(load(name), settings=Settings(project=project))]) == []


@pytest.mark.parametrize("project", PROJECTS)
@pytest.mark.parametrize("name", SHIPPED)
def test_none_on_a_first_file_or_a_preset_with_its_model(name: str, project: Project) -> None:
    assert found(starter(name), project) == []
    model = {"model.vocab_size": 50257, "model.eos_token_id": 50256, "model.hidden_size": 768}
    source = load(name, overrides=model)
    codes = {finding.code for finding in lint_sources([Job(source, settings=Settings(project=project))])}
    assert codes <= {"AVA402", "AVA407", "AVA504"}, "only cost and precision may depend on the model"


def test_one_mistake_is_one_finding() -> None:
    assert found("version: 1\nterms: {z_loss: {weight: 5}}") == ["AVA202"]
    assert found("version: 1\nterms: {focal_loss: {gamma: 0}}") == ["AVA321"]
    assert found("version: 1\nterms: {focal_loss: {weight: {from: 9, to: 0.2, steps: 5}}}") == ["AVA202"]
    assert found("version: 1\nprimary: {typ: deepseek, temperature: {initial: 1.2}}") == ["AVA101"]
    assert found("version: 1\nprimary: {type: deepseek, temperature: {adaptve: true, rate: 0.02}}") == ["AVA101"]


def test_errors_do_not_hide_advice_elsewhere() -> None:
    text = """\
version: 1
model: {vocab_size: many}
primary: {type: deepseek, label_smoothing: 0.4, temperature: {initial: 9, boundz: [1, 2]}}
terms:
  ngram_penalty: {windw: 64, weight: 0.9}
  focal_loss: {gamma: -1, weight: 0.9}
  z_lss: {}
  eos_penalty: {weight: 0}
balancing: fixd
reduction: {gradient_accumulation_steps: 0}
compile: {checks: full}
"""
    findings = lint_sources([Job(load_text(text, "x.yaml"))])
    assert [(finding.span.line, finding.span.column, finding.code) for finding in findings] == [
        (2, 21, "AVA103"),
        (3, 44, "AVA205"),
        (3, 72, "AVA503"),
        (3, 75, "AVA101"),
        (5, 19, "AVA101"),
        (5, 38, "AVA201"),
        (6, 3, "AVA314"),
        (6, 23, "AVA105"),
        (6, 35, "AVA201"),
        (7, 3, "AVA101"),
        (8, 25, "AVA302"),
        (9, 12, "AVA104"),
        (10, 42, "AVA105"),
        (11, 19, "AVA405"),
    ]


def test_a_missing_parent_leaves_no_advice_about_what_may_be_in_it() -> None:
    assert found("version: 1\nextends: standrad\nmodel: {vocab_size: 100}\nterms: {eos_penalty: {}}") == ["AVA020"]
