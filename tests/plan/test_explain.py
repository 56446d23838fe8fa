"""The data behind ``explain``: origins, effects, sizes."""

from __future__ import annotations

import math

import pytest

from ava.config import ROSTER, Config
from ava.errors import ArgumentValueError
from ava.load import list_presets
from ava.plan import Plan
from ava.plan.explain import ASSUMED_VOCABULARY, explain
from ava.plan.explain_term import MAIN, explain_class, sparkline
from ava.plan.mermaid import mermaid
from ava.plan.subjects import find_field, find_term_info
from ava.terms.base import Schedule

PRESETS = [preset.name for preset in list_presets() if preset.origin == "shipped"]


def fields(config: Config):
    return {".".join(map(str, field.path)): field for field in explain(config).fields}


@pytest.mark.parametrize("name", PRESETS)
def test_every_value_of_every_preset_is_there_with_an_origin(name):
    config = Config.load(name)
    told = explain(config)
    assert told.terms[0].name == MAIN
    assert [term.name for term in told.terms[1:]] == [term.name for term in config.enabled]
    for field in told.fields:
        assert field.description, field.path
        assert field.accepts != "another value", field.path
        assert (field.span is None) == (field.origin in ("default", "implied"))
        if field.origin == "default":
            assert field.value == field.default


@pytest.mark.parametrize("name", ROSTER)
def test_every_term_explains_itself(name):
    told = explain_class(ROSTER[name], 1000)
    assert told.summary.endswith(".")
    assert told.formula
    assert told.sources
    assert "weight" in told.recommended
    assert set(told.defaults) == set(ROSTER[name].model_fields)


def test_runtime_fields_are_those_that_keep_the_graph():
    """Changing a runtime field keeps the plan's key; changing a static one does not."""
    config = Config.load("production", vocab_size=1000, eos_token_id=2)
    key = Plan(config).key
    others = {"terms.z_loss.weight": 0.5, "primary.temperature.rate": 0.5, "terms.ngram_penalty.window": 7}
    told = fields(config)
    for path, value in others.items():
        same = Plan(Config.load(config, overrides={path: value})).key == key
        assert same == (told[path].effect == "runtime"), path


def test_an_untrained_model_has_the_entropy_of_the_vocabulary():
    told = explain(Config.load({"version": 1}))
    assert told.assumed
    assert told.untrained_total == pytest.approx(math.log(ASSUMED_VOCABULARY))
    known = explain(Config.load({"version": 1, "terms": {"z_loss": {"weight": 0.5}}}, vocab_size=100))
    assert not known.assumed
    assert known.untrained_total == pytest.approx(math.log(100) + 0.5 * math.log(100) ** 2)
    assert sum(known.share(term) for term in known.terms) == pytest.approx(1)


def test_shares_follow_a_schedule():
    weight = {"from": 0, "to": 1, "steps": 10}
    told = explain(Config.load({"version": 1, "terms": {"z_loss": {"weight": weight}}}, vocab_size=100))
    assert told.share(told.terms[1]) == 0
    assert told.share(told.terms[1], last=True) == pytest.approx(math.log(100) / (1 + math.log(100)))


def test_sparklines():
    def line(**schedule):
        return sparkline(Schedule.model_validate({"steps": 10, **schedule}), 11)

    assert line(**{"from": 0, "to": 1})[0] == "▁"
    assert line(**{"from": 0, "to": 1})[-1] == "█"
    assert line(**{"from": 1, "to": 0})[0] == "█"
    assert line(**{"from": 0, "to": 0}) == "▁" * 11


def test_subjects():
    told = explain(Config.load("standard"))
    assert find_term_info(told, "terms.ngram_penalty").name == "ngram_penalty"
    assert find_term_info(told, "primary").name == MAIN
    assert find_term_info(told, "window") is None
    assert [field.path[-1] for field in find_field(told, "primary.temperature")] == [
        "initial",
        "adaptive",
        "bounds",
        "rate",
    ]
    for wrong in ("", ".", "terms.", "window.", "nonsense", "weight"):
        with pytest.raises(ArgumentValueError):
            find_field(told, wrong)


@pytest.mark.parametrize(("weight", "position"), [(1e-5, 0), (1e-4, 0.5), (1e-3, 1), (2e-3, None), (1e-6, None)])
def test_a_wide_range_counts_by_ratio(weight, position):
    field = fields(Config.load({"version": 1, "terms": {"z_loss": {"weight": weight}}}))["terms.z_loss.weight"]
    assert field.recommended == (1e-5, 1e-3)
    assert field.position == (None if position is None else pytest.approx(position))
    assert (field.verdict == "inside") == (position is not None)


@pytest.mark.parametrize("name", PRESETS)
def test_the_graph_has_an_edge_from_every_term(name):
    plan = Plan(Config.load(name))
    text = mermaid(plan)
    for term in (MAIN, *(planned.name for planned in plan.terms)):
        assert f"  {term} -- " in text
    for argument in plan.inputs:
        assert f'{argument}(["{argument}"])' in text
