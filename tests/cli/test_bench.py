"""``bench``: what is timed beside what, and that results are compared first."""

from __future__ import annotations

import math
import re
import sys

import pytest
import torch

from ava.config import Config
from ava.load import list_presets
from ava.run import bench as module
from ava.run.bench import Setting, bench

PRESETS = [preset.name for preset in list_presets() if preset.origin == "shipped"]
UNCOMPILED = ("--set", "compile.enabled=false")
SMALL = (*UNCOMPILED, "--rows", 24, "--vocab-size", 64, "--hidden-size", 8, "--rounds", 1)
KEYS = {
    "preset",
    "engine",
    "device",
    "dtype",
    "rows",
    "vocab_size",
    "hidden_size",
    "rounds",
    "seed",
    "threads",
    "torch",
    "compiled",
    "compile_seconds",
    "differences",
    "agree",
    "milliseconds",
    "ratios",
    "peak_bytes",
    "notes",
}


@pytest.mark.parametrize("engine", ["logits", "linear"])
@pytest.mark.parametrize("name", PRESETS)
def test_json_of_each_preset(run, name, engine):
    done = run("bench", name, *SMALL, "--engine", engine, "--format", "json")
    told = done.json
    assert done.code == 0
    assert set(told) == KEYS
    assert (told["preset"], told["engine"], told["rows"], told["vocab_size"]) == (name, engine, 24, 64)
    assert told["agree"]
    assert told["differences"]["cross_entropy"] < 1e-5
    sides = {"loss", "cross_entropy"} | ({"linear_cross_entropy"} if engine == "linear" else set())
    assert set(told["milliseconds"]) == set(told["peak_bytes"]) == sides
    for side, ratio in told["ratios"].items():
        assert ratio == pytest.approx(told["milliseconds"]["loss"] / told["milliseconds"][side])
    assert told["peak_bytes"]["cross_entropy"] >= 24 * 64 * 4


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("engine", ["logits", "linear"])
def test_in_a_terminal(run, monkeypatch, width, engine):
    monkeypatch.setenv("COLUMNS", str(width))
    done = run("bench", "production", *SMALL, "--engine", engine)
    assert done.code == 0
    assert done.err == ""
    assert max(map(len, done.out.splitlines())) <= width
    shape = "24 × 64" if engine == "logits" else "24 × 8 × 64"
    assert f"engine {engine} · {shape} float32 on cpu" in done.out
    rows = r"this loss +[\d.e+]+ ms +\d.*\n(F\.linear \+ )?F\.cross_entropy +[\d.e+]+ ms +[\d.]+ +[\d.]+ .?i?B"
    assert re.search(rows, done.out)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_other_dtypes(run, dtype):
    told = run("bench", "standard", *SMALL, "--dtype", dtype, "--format", "json").json
    assert told["agree"]
    assert told["dtype"] == dtype
    assert told["peak_bytes"]["cross_entropy"] >= 24 * 64 * getattr(torch, dtype).itemsize


def test_cross_entropy_is_torchs_whatever_the_model_says(run):
    """Scale, cap, shift, padding and smoothing belong to the loss alone."""
    sets = ("model.logit_softcap=5.0", "model.logit_scale=0.5", "model.padded_vocab_size=80", "targets.shift=true")
    more = [word for text in (*sets, "primary.label_smoothing=0.1") for word in ("--set", text)]
    for engine in ("logits", "linear"):
        done = run("bench", "fast_prototype", *SMALL, *more, "--engine", engine, "--format", "json")
        assert done.code == 0, done.err
        assert done.json["differences"]["cross_entropy"] < 1e-5


def test_results_that_differ_are_not_timed(run, monkeypatch):
    monkeypatch.setattr(module.F, "cross_entropy", lambda logits, *_, **__: logits.float().square().mean())
    done = run("bench", "fast_prototype", *SMALL)
    assert done.code == 1
    assert "The results differ, so nothing was timed." in done.out
    assert " ms" not in done.out
    told = run("bench", "fast_prototype", *SMALL, "--format", "json").json
    assert (told["agree"], told["milliseconds"], told["ratios"]) == (False, {}, {})


def test_a_difference_that_is_not_a_number_is_no_agreement():
    nan, one = torch.tensor(math.nan), torch.ones(())
    assert module._difference((nan, [one]), (one, [one])) == math.inf
    assert module._difference((one, [nan]), (one, [one])) == math.inf
    assert module._difference((one, [None]), (one, [one])) == math.inf
    assert module._difference((one, [None]), (one, [None])) == 0.0


@pytest.mark.parametrize(("rows", "layout"), [(1, (1, 1)), (7, (1, 7)), (512, (1, 512)), (1024, (2, 512))])
def test_layout_has_all_rows(rows, layout):
    assert Setting(rows=rows).layout == layout


def test_what_cannot_be_run(run):
    assert run("bench", "no-such-preset").code == 2
    done = run("bench", "standard", *SMALL, "--device", "nowhere")
    assert done.code == 2
    assert "--device nowhere" in done.err
    assert run("bench", "standard", "--rows", 0).code == 2
    huge = run("bench", "fast_prototype", *UNCOMPILED, "--rows", 2**24, "--vocab-size", 2**24)
    assert huge.code == 2
    assert "make --rows smaller" in huge.err


def test_progress_is_shown_on_a_terminal_only(run, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = run("bench", "fast_prototype", *SMALL)
    assert any(stage in shown.err for stage in ("importing torch", "comparing results", "memory of"))
    assert run("bench", "fast_prototype", *SMALL, "--quiet").err == ""


def test_without_torch_it_says_what_to_install(run, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = run("bench", "standard", *SMALL)
    assert done.code == 2
    assert "bench needs torch" in done.err


@pytest.mark.compiled
def test_compiled_is_compared_with_uncompiled_and_timed_beside_compiled_cross_entropy():
    found = bench(Config.load("fast_prototype"), Setting(rows=24, vocab_size=64, rounds=1))
    if not found.compiled:
        pytest.skip("nothing compiles on this machine")
    assert found.agree
    assert set(found.differences) == {"compiled", "cross_entropy"}
    assert set(found.ratios) == {"cross_entropy", "cross_entropy_compiled"}
    assert found.compile_seconds > 0
