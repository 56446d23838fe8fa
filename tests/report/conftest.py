"""The browser, logs and dry runs that the tests of reports share."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Browser, chromium
from tests.golden import golden

__all__ = ["TERMS", "Write", "browser", "dry_run", "golden", "record", "run_a", "run_b", "write_log"]

TERMS = ("main_loss", "immediate_repetition_penalty", "ngram_penalty", "eos_penalty")
COSINES = {
    ("main_loss", "immediate_repetition_penalty"): -0.95,
    ("main_loss", "ngram_penalty"): 0.25,
    ("main_loss", "eos_penalty"): 0.0,
    ("immediate_repetition_penalty", "ngram_penalty"): 0.6,
    ("immediate_repetition_penalty", "eos_penalty"): -0.4,
    ("ngram_penalty", "eos_penalty"): 1.0,
}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def dry_run() -> dict[str, Any]:
    """Return what ``dry-run --format json`` writes for the preset `standard`, with round figures."""
    shares = ((9.0, 0.90, 0.50), (0.6, 0.06, 0.30), (0.3, 0.03, 0.15), (0.1, 0.01, 0.05))
    terms = {
        name: {
            "raw": 2 * weighted,
            "weight": 0.5,
            "weighted": weighted,
            "contribution": contribution,
            "gradient_norm": share / 10,
            "gradient_share": share,
            "cosine_to_main": COSINES.get(("main_loss", name), 1.0),
        }
        for name, (weighted, contribution, share) in zip(TERMS, shares, strict=True)
    }
    conflicts: dict[str, dict[str, float]] = {name: {} for name in TERMS}
    for (one, other), cosine in COSINES.items():
        conflicts[one][other] = conflicts[other][one] = cosine
    finding = {
        "code": "AVA552",
        "name": "fights-main-loss",
        "severity": "warning",
        "message": "`immediate_repetition_penalty` pulls against the main loss",
        "file": "presets/standard.yaml",
        "line": 4,
        "column": 3,
        "url": "https://ava-loss.readthedocs.io/rules/fights-main-loss/",
    }
    return {
        "preset": "standard",
        "engine": "logits",
        "total": 10.0,
        "terms": terms,
        "conflicts": conflicts,
        "finite": True,
        "graph_breaks": 0,
        "recompiles": 0,
        "compile_seconds": 4.5,
        "forward_ms": 4.25,
        "backward_ms": 2.5,
        "peak_bytes": 2 << 20,
        "planned_bytes": 1 << 20,
        "eager_difference": 1e-7,
        "findings": [finding],
    }


Write = Callable[..., Path]


def record(step: int, noise: random.Random, **more: Any) -> dict[str, Any]:
    """Return a step of a run that learns."""
    main, penalty = 3 + 7 * math.exp(-step / 60) + noise.gauss(0, 0.05), 0.2 + noise.gauss(0, 0.01)
    return {
        "step": step,
        "seconds": step / 10,
        "lr": 3e-4,
        "loss/total": main + 0.1 * penalty,
        "loss/main": main,
        "loss/ngram_penalty": 0.1 * penalty,
        "raw/ngram_penalty": penalty,
        "metrics/temperature": 1 + step / 1000,
        "metrics/expert_load_max": 0.25 + noise.gauss(0, 0.001),
        **more,
    }


@pytest.fixture
def write_log(tmp_path: Path) -> Write:
    """Return a function that writes a log: its name, its records or raw lines."""

    def write(name: str, records: list[Any], end: str = "\n") -> Path:
        path = tmp_path / name
        lines = [item if isinstance(item, str) else json.dumps(item) for item in records]
        path.write_text("\n".join(lines) + end, encoding="utf-8")
        return path

    return write


@pytest.fixture
def run_a() -> list[dict[str, Any]]:
    """Return 300 steps: a spike at 150, and not finite from 200 to 204."""
    noise = random.Random(1)
    records = [record(step, noise) for step in range(1, 301)]
    records[149]["loss/total"] = records[149]["loss/main"] = 12.0
    for index in range(199, 204):
        records[index]["loss/total"] = None
        records[index]["loss/ngram_penalty"] = math.nan
    return records


@pytest.fixture
def run_b() -> list[dict[str, Any]]:
    """Return 250 steps, resumed at 101 after 120, and without the steps 181 to 219."""
    noise = random.Random(2)
    steps = [*range(1, 121), *range(101, 181), *range(220, 251)]
    return [record(step, noise) for step in steps]
