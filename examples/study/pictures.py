"""The pictures of the page, from the results. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from study.svg import bars, curves, dots

Results = dict[str, Any]
Run = dict[str, Any]


def runs_of(results: Results, name: str) -> list[Run]:
    return [run for run in results["runs"] if run["recipe"] == name]


def names(results: Results, *groups: str) -> list[str]:
    return [name for name, recipe in results["recipes"].items() if recipe["group"] in groups]


def each(results: Results, recipes: Sequence[str], value: Callable[[Run], float]) -> dict[str, list[float]]:
    """A value of every run, by recipe."""
    return {name: [value(run) for run in runs_of(results, name)] for name in recipes}


def pictures(results: Results) -> dict[str, str]:
    """The pictures by their file's name."""
    dense, every = names(results, "dense"), names(results, "dense", "experts", "ablation")
    experts = [name for name in every if results["recipes"][name]["experts"]]
    plain = [name for name in every if name not in experts]
    drawn = {
        "held-out": dots(
            "Held-out cross-entropy of every run without experts",
            "nats a token at τ = 1; a dot is a seed, the bar their mean",
            each(results, plain, lambda run: run["held_out"]["nats"]),
            {},
        ),
        "rescaled": dots(
            "Held-out cross-entropy at each model's best temperature",
            "nats a token at the best τ",
            each(results, plain, lambda run: run["held_out"]["nats_at_best"]),
            {},
        ),
        "learning": curves(
            "Held-out cross-entropy while training",
            "step",
            "nats a token at τ = 1",
            {name: mean_curve(results, name) for name in every if name in dense or name.endswith("_wide_tau")},
        ),
        "temperature": curves(
            "The temperature while training, a mean over the seeds",
            "step",
            "τ",
            {name: mean_temperature(results, name) for name in plain if moves(results, name)}
            or {"no run has a moving temperature": [(0, 1), (1, 1)]},
        ),
    }
    for measure, what in (("rep_4", "rep-4"), ("loops", "the share of texts that end in a loop")):
        drawn[measure.replace("_", "-")] = bars(
            f"Repetition: {what}",
            f"{what}: means, and gray from the least to the most of the seeds",
            {
                name: {
                    way: [run["texts"][way][measure] for run in runs_of(results, name)] for way in ("greedy", "sampled")
                }
                for name in every
            },
            {"the real text": results["real"][measure]},
        )
    if experts:
        drawn["experts"] = dots(
            "Load of every expert of every layer and seed",
            "tokens of an expert ÷ its even share",
            {
                name: [share for run in runs_of(results, name) for share in run["held_out"]["experts"]["shares"]]
                for name in experts
            },
            {"an even share": 1.0, "dead below this": 0.1},
            mean=False,
        )
        drawn["expert-learning"] = curves(
            "Unevenness of the load while training",
            "step",
            "CV of the expert load",
            {name: mean_curve(results, name, "cv") for name in experts},
        )
    return drawn


def moves(results: Results, name: str) -> bool:
    return any(len({tau for _, tau in run["temperatures"]}) > 1 for run in runs_of(results, name))


def mean_temperature(results: Results, name: str) -> list[tuple[float, float]]:
    rows = zip(*(run["temperatures"] for run in runs_of(results, name)), strict=True)
    return [(row[0][0], sum(tau for _, tau in row) / len(row)) for row in rows]


def mean_curve(results: Results, name: str, value: str = "nats") -> list[tuple[float, float]]:
    curves_ = [run["curve"] for run in runs_of(results, name)]
    return [
        (points[0]["step"], sum(point[value] for point in points) / len(points))
        for points in zip(*curves_, strict=False)
    ]
