"""What the pages say, held against files: of each preset with and without a dry run, and of training logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ava.cli import main
from ava.load import list_presets
from tests.report.reading import said

PRESETS = [preset.name for preset in list_presets() if preset.origin == "shipped"]
SMALL = ("--no-compile", "--vocab-size", 64, "--batch", 2, "--seq-len", 24, "--steps", 1, "--scenario", "repetitive")
SCHEDULE = "terms.ngram_penalty.weight={from: 0, to: 0.3, steps: 2000, delay: 500, shape: cosine}"
OTHERS = {"one_log", "two_logs", "without_a_run", "with_a_schedule"}


@pytest.fixture
def page(capsys, monkeypatch):
    monkeypatch.chdir(Path(__file__).resolve().parents[2])

    def call(*arguments):
        capsys.readouterr()
        assert main(["report", *map(str, arguments)]) == 0
        return said(capsys.readouterr().out)

    return call


@pytest.mark.parametrize("engine", ["logits", "linear"])
@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_runs_dry(page, golden, preset, engine):
    golden(f"{preset}_{engine}", page(preset, *SMALL, "--engine", engine))


def test_without_a_run(page, golden):
    golden("without_a_run", page("production", "--no-run"))
    golden("with_a_schedule", page("production", "--no-run", "--set", SCHEDULE))


def test_logs(page, golden, write_log, run_a, run_b, monkeypatch):
    one, two = write_log("a.jsonl", run_a), write_log("b.jsonl", run_b)
    monkeypatch.chdir(one.parent)
    golden("one_log", page(one.name))
    golden("two_logs", page(one.name, two.name))


def test_no_snapshot_is_left_over():
    named = {f"{preset}_{engine}" for preset in PRESETS for engine in ("logits", "linear")}
    assert {path.stem for path in (Path(__file__).parent / "snapshots").iterdir()} == {*named, *OTHERS}
