"""The plan's estimate against the allocator, for every preset on both engines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ava.config import Config
from ava.load import list_presets
from ava.run.dry_run.measure import Request, dry_run

PRESETS = [preset.name for preset in list_presets() if preset.origin == "shipped"]
NEAR = 0.15
SHAPES = {
    "small": Request(batch=2, length=32, vocab_size=256),
    "rows": Request(batch=4, length=128, vocab_size=1024),
    "half": Request(batch=2, length=64, vocab_size=1024, dtype="bfloat16"),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("engine", ["logits", "linear"])
@pytest.mark.parametrize("name", PRESETS)
def test_uncompiled(name, engine, shape):
    measured = dry_run(Config.load(name), replace(SHAPES[shape], engine=engine, compiled=False, steps=1))
    assert measured.planned_bytes == pytest.approx(measured.peak_bytes, rel=NEAR)
    assert "AVA453" not in {finding.code for finding in measured.findings}


@pytest.mark.parametrize("engine", ["logits", "linear"])
@pytest.mark.parametrize("name", ["moe", "mtp"])
def test_uncompiled_with_wide_hidden_states(name, engine):
    config = Config.load(name, overrides={"model.hidden_size": 256})
    request = Request(batch=2, length=64, vocab_size=512, engine=engine, compiled=False, steps=1)
    measured = dry_run(config, request)
    assert measured.planned_bytes == pytest.approx(measured.peak_bytes, rel=NEAR)


@pytest.mark.compiled
@pytest.mark.parametrize("engine", ["logits", "linear"])
@pytest.mark.parametrize("name", PRESETS)
def test_compiled(name, engine):
    measured = dry_run(Config.load(name), replace(SHAPES["rows"], engine=engine, steps=1))
    assert measured.compiled
    assert measured.planned_bytes == pytest.approx(measured.peak_bytes, rel=NEAR)
