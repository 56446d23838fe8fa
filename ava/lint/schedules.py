"""AVA3xx about weights over time: weights of zero, and schedules that do not do what they say."""

from __future__ import annotations

from collections.abc import Iterator

from ava.errors import documentation
from ava.lint.subject import ConfigRule, Subject, numbers
from ava.numbers import short
from ava.terms.advice import Advice, Project
from ava.terms.base import Schedule

__all__ = ["RULES"]


def _zero_weight(subject: Subject) -> Iterator[Advice]:
    for term in subject.config.enabled:
        if getattr(term, "method", None) == "loss_free" or any(value for _, value in numbers(term)):
            continue
        yield Advice(
            f"`{term.name}` has weight 0, so it is computed and reported but changes nothing; give it a weight, or "
            f"switch it off with `{term.name}: null`",
            ("terms", term.name, "weight"),
        )


def _constant_schedule(subject: Subject) -> Iterator[Advice]:
    for term in subject.config.enabled:
        weight = term.weight
        if isinstance(weight, Schedule) and weight.start == weight.to != 0:
            yield Advice(
                f"`{term.name}.weight` goes from {short(weight.start)} to {short(weight.to)}, which is no change; "
                f"write `weight: {short(weight.to)}`",
                ("terms", term.name, "weight"),
            )


def _beyond_training(subject: Subject) -> Iterator[tuple[str, Schedule, int]]:
    steps = subject.project.training_steps
    for term in subject.config.enabled:
        weight = term.weight
        if steps is not None and isinstance(weight, Schedule) and weight.start != weight.to:
            yield term.name, weight, steps


def _never_starts(subject: Subject) -> Iterator[Advice]:
    for name, weight, steps in _beyond_training(subject):
        if weight.delay >= steps:
            yield Advice(
                f"`{name}.weight` starts to change after {weight.delay:,} steps, and training ends after {steps:,}; "
                "shorten `delay`",
                ("terms", name, "weight", "delay"),
            )


def _never_ends(subject: Subject) -> Iterator[Advice]:
    for name, weight, steps in _beyond_training(subject):
        end = weight.delay + weight.steps
        if weight.delay < steps < end:
            yield Advice(
                f"`{name}.weight` reaches {short(weight.to)} after {end:,} steps, and training ends after {steps:,}, "
                f"at {short(weight.at(steps), 3)}; write `steps: {steps - weight.delay}` or less",
                ("terms", name, "weight", "steps"),
                (("terms", name, "weight", "delay"),),
            )


RULES = (
    ConfigRule(
        "AVA302",
        "zero-weight",
        "warning",
        documentation(
            "Finds a term that is on, with a weight of 0 all the time.",
            "It costs its share of every step and trains nothing. (To watch a term without training on it, say so with "
            "a suppression comment.)",
            "version: 1\nterms:\n  focal_loss: {weight: 0.0}",
            "version: 1\nterms:\n  focal_loss: {weight: 0.2}",
        ),
        _zero_weight,
    ),
    ConfigRule(
        "AVA303",
        "constant-schedule",
        "warning",
        documentation(
            "Finds a schedule that ends at the weight that it starts with.",
            "It reads as if the weight changed. Most often one of the two numbers was meant to be another.",
            "version: 1\nterms:\n  focal_loss: {weight: {from: 0.2, to: 0.2, steps: 1000}}",
            "version: 1\nterms:\n  focal_loss: {weight: {from: 0.0, to: 0.2, steps: 1000}}",
        ),
        _constant_schedule,
    ),
    ConfigRule(
        "AVA331",
        "schedule-never-starts",
        "warning",
        documentation(
            "Finds a schedule whose `delay` is not over when training ends, `training_steps` in `[tool.ava-loss]`.",
            "The weight stays at `from` for the whole run. Often `delay` counts batches where optimizer steps are "
            "meant, or the file comes from a longer run.",
            "version: 1\nterms:\n  focal_loss: {weight: {from: 0.0, to: 0.2, steps: 1000, delay: 50000}}",
            "version: 1\nterms:\n  focal_loss: {weight: {from: 0.0, to: 0.2, steps: 1000, delay: 500}}",
        ),
        _never_starts,
        Project(training_steps=10_000),
    ),
    ConfigRule(
        "AVA332",
        "schedule-never-ends",
        "warning",
        documentation(
            "Finds a schedule that is still under way when training ends, `training_steps` in `[tool.ava-loss]`.",
            "The weight never arrives at `to`, so the model is trained with a smaller change than the file says.",
            "version: 1\nterms:\n  focal_loss: {weight: {from: 0.0, to: 0.2, steps: 50000}}",
            "version: 1\nterms:\n  focal_loss: {weight: {from: 0.0, to: 0.2, steps: 1000}}",
        ),
        _never_ends,
        Project(training_steps=10_000),
    ),
)
