"""``explain``: presets, terms and fields, in every format."""

from __future__ import annotations

import pytest

from ava.config import ROSTER
from ava.load import list_presets

PRESETS = [preset.name for preset in list_presets() if preset.origin == "shipped"]


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("name", PRESETS)
def test_the_page_of_each_preset(run, name, columns, golden, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    ran = run("explain", name)
    assert (ran.code, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= columns
    golden(f"explain_{name}_{columns}", ran.out)


@pytest.mark.parametrize("name", ["main_loss", *ROSTER])
def test_the_page_of_each_term(run, name):
    ran = run("explain", name)
    assert ran.code == 0
    assert ran.out.startswith(name)
    told = run("explain", name, "--format", "json").json
    assert told["name"] == name
    assert {"summary", "formula", "sources", "needs", "cost", "fields", "untrained"} <= set(told)
    assert f"## {name}" in run("explain", name, "--format", "markdown").out


def test_json_says_where_each_value_came_from(run, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("version: 1\nextends: standard\nterms: {z_loss: {weight: 1e-2}}\n")
    told = run("explain", path, "--format", "json", "--set", "terms.eos_penalty.weight=0.1").json
    values = {value["path"]: value for value in told["values"]}
    assert values["terms.z_loss.weight"]["where"] == f"{path}:3"
    assert values["terms.z_loss.weight"]["verdict"] == "above"
    assert values["primary.type"]["where"] == "standard:9"
    assert values["terms.eos_penalty.weight"]["origin"] == "set"
    assert values["terms.ngram_penalty.window"]["origin"] == "default"
    assert values["terms.ngram_penalty.window"]["effect"] == "static"
    assert values["primary.temperature.rate"]["effect"] == "runtime"
    assert values["model.num_experts"]["effect"] == "none"
    assert sum(term["share"] for term in told["terms"].values()) == pytest.approx(1)


def test_a_value_that_another_field_implies(run):
    told = run("explain", "mtp", "mtp_loss.weighting", "--format", "json").json
    assert (told["value"], told["origin"]) == ("adaptive", "implied")


def test_a_schedule_is_drawn(run, golden):
    schedule = "terms.z_loss.weight={from: 0, to: 1e-3, steps: 100, delay: 10, shape: cosine}"
    ran = run("explain", "standard", "--set", schedule)
    assert "0 % → " in ran.out
    golden("explain_schedule", "\n".join(ran.out.splitlines()[:20]) + "\n")
    field = run("explain", "standard", "z_loss.weight", "--set", schedule).out
    assert "over the steps" in field


@pytest.mark.parametrize(
    "subject", ["window", "ngram_penalty.window", "terms.ngram_penalty.window", "primary.temperature", "main_loss"]
)
def test_the_page_of_a_field(run, subject):
    ran = run("explain", "standard", subject)
    assert (ran.code, ran.err) == (0, "")
    assert run("explain", "standard", subject, "--format", "json").json
    assert run("explain", "standard", subject, "--format", "markdown").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["standard", "z_loss"], "is off in standard"),
        (["standard", "z_loss.weight"], "is off in standard"),
        (["standard", "weight"], "of several sections"),
        (["standard", "ngram_penalty.windw"], "did you mean `window`?"),
        (["standard", "windw"], "did you mean `window`?"),
        (["standrd"], "did you mean `standard`?"),
        (["no/such.yaml"], "No such file"),
    ],
)
def test_what_is_not_there_is_2(run, arguments, said):
    ran = run("explain", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_a_broken_file_is_1_with_its_frame(run, wrong):
    ran = run("explain", wrong, "--format", "json")
    assert (ran.code, ran.out) == (1, "")
    assert "^^^^^" in ran.err


def test_markdown_of_a_preset(run, golden):
    golden("explain_standard_markdown", run("explain", "standard", "--format", "markdown").out)
