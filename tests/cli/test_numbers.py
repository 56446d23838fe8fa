"""A number, a schedule and a colour are written the same way by every command."""

from __future__ import annotations

import pytest

from ava.load import list_presets

SCHEDULE = "{from: 0, to: 0.00001, steps: 2000, delay: 500, shape: cosine}"
SMALL = ("--no-compile", "--vocab-size", 32, "--batch", 1, "--seq-len", 8, "--steps", 1)
WORDS = "0 → 1e-5 over 2,000 steps after 500, cosine"


def flat(text: str) -> str:
    """Return ``text`` on one line."""
    return " ".join(text.split())


def test_lint_and_explain_write_a_range_alike(run, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("version: 1\nterms:\n  z_loss: {weight: 0.05}\n", encoding="utf-8")
    assert "write 1e-5 to 0.001" in flat(run("lint", path).out)
    assert "1e-5 – 0.001" in run("explain", path, "z_loss").out


def test_a_schedule_has_one_wording(run, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(f"version: 1\nterms:\n  z_loss: {{weight: {SCHEDULE}}}\n", encoding="utf-8")
    for command in (
        ("explain", path),
        ("explain", path, "z_loss"),
        ("explain", path, "z_loss.weight"),
        ("explain", path, "--format", "markdown"),
        ("diff", path, "--set", "terms.z_loss.weight=0.001"),
        ("report", path, "--no-run"),
    ):
        assert WORDS in flat(run(*command).out), command


@pytest.mark.parametrize(("name", "value", "colored"), [("FORCE_COLOR", "1", True), ("NO_COLOR", "1", False)])
def test_colour_is_asked_for_by_the_environment(run, monkeypatch, name, value, colored):
    monkeypatch.setenv(name, value)
    for command in (("explain", "moe"), ("diff", "standard", "moe"), ("dry-run", "fast_prototype", *SMALL)):
        assert ("\x1b[" in run(*command).out) == colored
    assert "\x1b[" not in run("explain", "moe", "--color", "never").out
    assert "\x1b[" not in run("explain", "moe", "--format", "json").out


@pytest.mark.parametrize("preset", [preset.name for preset in list_presets() if preset.origin == "shipped"])
def test_a_scenario_of_experts_says_where_there_are_none(run, preset):
    done = run("dry-run", preset, *SMALL, "--scenario", "skewed")
    assert ("is about experts, on which no term works here" in flat(done.out)) == (preset != "moe")
    idle = "try `--scenario repetitive`, which may wake it"
    assert (idle in flat(done.out)) == (preset != "fast_prototype")
