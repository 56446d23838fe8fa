"""What is said of the `linear` engine before anything runs: `explain` and `dry-run` agree with the plan."""

from __future__ import annotations

from ava import Config
from ava.plan import Plan
from ava.plan.explain_engines import Shape, explain_engines
from ava.run.dry_run.measure import Request, dry_run

CONFIG = Config.load("standard", overrides={"model.vocab_size": 500, "model.hidden_size": 48, "model.eos_token_id": 3})


def test_explain_says_what_the_plan_says() -> None:
    plan = Plan(CONFIG)
    shown = {info.name: info for info in explain_engines(plan, 500, Shape(2, 64, "float32"))}
    assert shown["linear"].bytes == plan.memory(128, 500, 4, "linear", hidden_size=48)
    assert (shown["linear"].hidden_size, shown["linear"].assumed) == (48, False)


def test_a_dry_run_says_what_the_plan_says() -> None:
    measured = dry_run(CONFIG, Request(batch=2, length=64, engine="linear", compiled=False, steps=1))
    assert measured.engine == "linear"
    plan = Plan(Config.load(CONFIG.to_dict(), overrides={"compile.enabled": False}))
    assert measured.planned_bytes == plan.memory(128, 500, 4, "linear", hidden_size=48)
