"""``suggest`` with the real library."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ava import Config, Loss
from ava.config.roster import ROSTER
from ava.errors import ArgumentTypeError, ArgumentValueError
from ava.integrations.optuna import search_space, suggest

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.ERROR)


def config(**terms: Any) -> Config:
    return Config.load({"version": 1, "terms": terms, "compile": {"enabled": False}})


def distributions(given: Config, fields: Any = None) -> dict[str, Any]:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(0)).ask()
    suggest(trial, given, fields)
    return dict(trial.distributions)


@pytest.mark.parametrize("name", ROSTER)
def test_every_recommended_range_of_every_term(name: str) -> None:
    given = config(**{name: {}})
    found = distributions(given)
    expected = ROSTER[name].recommended
    assert {path: (d.low, d.high) for path, d in found.items()} == {
        f"terms.{name}.{field}": span for field, span in expected.items()
    }
    for path, distribution in found.items():
        default = getattr(getattr(given.terms, name), path.rpartition(".")[2])
        assert isinstance(distribution, optuna.distributions.IntDistribution) is (type(default) is int), path


def test_scales() -> None:
    found = distributions(config(z_loss={}, router_z_loss={}, ngram_penalty={}, focal_loss={}))
    assert {path for path, d in found.items() if d.log} == {"terms.z_loss.weight", "terms.router_z_loss.weight"}


def test_only_the_terms_that_are_on() -> None:
    given = Config.load("standard", overrides={"terms.eos_penalty": None, "terms.z_loss.weight": 0})
    assert {path.split(".")[1] for path in search_space(given)} == {"immediate_repetition_penalty", "ngram_penalty"}
    trial = optuna.create_study().ask()
    plain = Config.load("fast_prototype")
    assert suggest(trial, plain) is plain
    assert not trial.params


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["weight"], ["terms.ngram_penalty.weight", "terms.z_loss.weight"]),
        (["z_loss"], ["terms.z_loss.weight"]),
        (["ngram_penalty.size"], ["terms.ngram_penalty.size"]),
        (["terms.z_loss.weight", "window"], ["terms.ngram_penalty.window", "terms.z_loss.weight"]),
        ([], []),
    ],
)
def test_a_selection(fields: list[str], expected: list[str]) -> None:
    assert sorted(distributions(config(z_loss={}, ngram_penalty={}), fields)) == expected


def test_a_range_of_ones_own() -> None:
    found = distributions(config(ngram_penalty={}), {"terms.ngram_penalty.weight": (0.01, 1.0)})
    (distribution,) = found.values()
    assert (distribution.low, distribution.high, distribution.log) == (0.01, 1.0, True)


def test_a_fixed_trial_sets_what_it_says() -> None:
    given = Config.load("standard")
    trial = optuna.trial.FixedTrial({"terms.ngram_penalty.weight": 0.07, "terms.ngram_penalty.window": 33})
    found = suggest(trial, given, ["ngram_penalty.weight", "ngram_penalty.window"])
    assert (found.terms.ngram_penalty.weight, found.terms.ngram_penalty.window) == (0.07, 33)
    assert found.terms.ngram_penalty.size == given.terms.ngram_penalty.size
    assert found.primary == given.primary


@pytest.mark.parametrize(("start", "to", "moved"), [(0.0, 1e-4, "to"), (1e-3, 0.0, "start")])
def test_a_schedule_keeps_its_shape(start: float, to: float, moved: str) -> None:
    given = config(z_loss={"weight": {"from": start, "to": to, "steps": 9, "shape": "cosine"}})
    found = suggest(optuna.trial.FixedTrial({"terms.z_loss.weight": 5e-4}), given).terms.z_loss.weight
    assert getattr(found, moved) == 5e-4
    assert (found.steps, found.shape, min(found.start, found.to)) == (9, "cosine", 0.0)


@pytest.mark.parametrize(
    ("fields", "kind", "part"),
    [
        (["z_los"], ArgumentValueError, "did you mean `z_loss`"),
        (["eos_penalty"], ArgumentValueError, "`eos_penalty` is no field"),
        ("z_loss", ArgumentTypeError, r"\['z_loss'\]"),
        ({"z_loss.wieght": (0, 1)}, ArgumentValueError, "did you mean `terms.z_loss.weight`"),
        ({"z_loss.weight": (1, 1)}, ArgumentValueError, "low < high"),
    ],
)
def test_wrong_fields(fields: Any, kind: type[Exception], part: str) -> None:
    with pytest.raises(kind, match=part):
        search_space(config(z_loss={}), fields)
    with pytest.raises(ArgumentTypeError, match=r"ava\.Config"):
        search_space({"version": 1})  # type: ignore[arg-type]


def test_a_study_over_a_tiny_problem() -> None:
    """The z-loss holds logits down: the study finds that more of it gives smaller ones."""
    given = config(z_loss={})
    start = torch.full((1, 4, 5), 3.0)

    def objective(trial: Any) -> float:
        loss = Loss(suggest(trial, given))
        logits = start.clone().requires_grad_()
        optimizer = torch.optim.SGD([logits], lr=50.0)
        for _ in range(5):
            optimizer.zero_grad()
            loss(logits, torch.zeros(1, 4, dtype=torch.int64)).backward()
            optimizer.step()
        return float(logits.detach().logsumexp(2).mean())

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=6)
    weights = [trial.params["terms.z_loss.weight"] for trial in study.trials]
    assert all(1e-5 <= weight <= 1e-3 for weight in weights)
    assert study.best_params["terms.z_loss.weight"] == max(weights)
