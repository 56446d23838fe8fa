"""The flat keywords: where each stands in a configuration, its default, and what it accepts.

Types, ranges and defaults are those of the fields, so nothing is said twice.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from pydantic import ValidationError

from ava.config.legacy import LEGACY
from ava.config.model import Model
from ava.config.problems import Problem, problems
from ava.config.roster import ROSTER
from ava.config.words import choices, expected, field_schema, got, number, range_text
from ava.errors import ArgumentTypeError, ArgumentValueError, Path, did_you_mean
from ava.terms.base import Section
from ava.terms.main_loss import PrimaryLoss, Temperature

__all__ = ["DEFAULTS", "PLACES", "WORDS", "Keywords", "check"]

PLACES: dict[str, str] = {
    "vocab_size": "model.vocab_size",
    "hidden_size": "model.hidden_size",
    "ignore_index": "model.ignore_index",
    "eos_token_id": "model.eos_token_id",
    "pad_token_id": "model.pad_token_id",
    "num_experts": "model.num_experts",
    "label_smoothing": "primary.label_smoothing",
    "num_future_tokens": "terms.mtp_loss.num_future_tokens",
    "target_expert_usage": "terms.moe_balance_loss.target_expert_usage",
    **LEGACY,
}
"""Keyword to its place in a configuration; a switch has the place of its term."""

WORDS: dict[str, dict[Any, str]] = {
    "mtp_type": {"deepseek": "uniform", "adaptive": "adaptive"},
    "shared_projection": {False: "linear", True: "shared"},
}
"""Keywords whose values have other names in a configuration; the first is the default."""


class Keywords(TypedDict, total=False):
    """The keywords of ``UnifiedLoss`` beside ``vocab_size`` and ``hidden_size``. None stands for the default."""

    primary_loss_type: Literal["standard", "deepseek", "adaptive_mtp"] | None
    ignore_index: int | None
    label_smoothing: float | None
    initial_temperature: float | None
    adaptive_temperature: bool | None
    temperature_bounds: Sequence[float] | None
    eos_token_id: int | None
    pad_token_id: int | None
    min_sequence_length: int | None
    eos_penalty_weight: float | None
    adaptive_threshold: float | None
    adaptive_weight_range: Sequence[float] | None
    use_mtp: bool | None
    num_future_tokens: int | None
    mtp_type: Literal["deepseek", "adaptive"] | None
    mtp_weight: float | None
    shared_projection: bool | None
    use_ngram_penalty: bool | None
    ngram_size: int | None
    ngram_penalty_weight: float | None
    ngram_window_size: int | None
    use_immediate_repetition_penalty: bool | None
    immediate_repetition_weight: float | None
    immediate_repetition_threshold: int | None
    num_experts: int | None
    use_moe_balancing: bool | None
    gradient_balance_weight: float | None
    target_expert_usage: float | Sequence[float] | None
    use_focal_loss: bool | None
    focal_alpha: float | None
    focal_gamma: float | None
    focal_weight: float | None
    use_diversity_loss: bool | None
    diversity_weight: float | None
    use_contrastive_loss: bool | None
    contrastive_temperature: float | None
    contrastive_weight: float | None
    use_auxiliary_loss: bool | None
    load_balancing_weight: float | None
    router_z_weight: float | None


def _path(keyword: str) -> Path:
    return tuple(PLACES[keyword].split("` ")[0].split("."))  # `A` or `B`: their fields are alike


def _section(path: Path) -> type[Section]:
    if path[0] == "terms":
        return ROSTER[str(path[1])]
    return Model if path[0] == "model" else Temperature if len(path) > 2 else PrimaryLoss


def _is_switch(keyword: str) -> bool:
    return keyword.startswith("use_")


def _default(keyword: str) -> Any:
    if _is_switch(keyword):
        return False
    if keyword in WORDS:
        return next(iter(WORDS[keyword]))
    if keyword == "primary_loss_type":
        return "deepseek"  # what the guide recommends, and what its snippets without a type are about
    path = _path(keyword)
    return _section(path).model_fields[str(path[-1])].get_default(call_default_factory=True)


DEFAULTS: dict[str, Any] = {keyword: _default(keyword) for keyword in PLACES}
"""Keyword to default. A switch that is off here is also turned on by its weight, see ``translate``."""


def check(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords that are given (None is not), as plain validated values.

    >>> check({"ngram_size": 3, "temperature_bounds": [0.7, 1.5], "eos_token_id": None})
    {'ngram_size': 3, 'temperature_bounds': (0.7, 1.5)}

    Raises:
        ArgumentTypeError: a keyword that does not exist, or of the wrong type.
        ArgumentValueError: a value out of its range or its closed set. The message names every mistake.
    """
    for keyword in keywords:
        if keyword not in PLACES:
            raise ArgumentTypeError(f"`{keyword}` is not a keyword of UnifiedLoss{did_you_mean(keyword, PLACES)}")
    given: dict[str, Any] = {}
    wrong: list[str] = []
    error: type[ArgumentTypeError | ArgumentValueError] = ArgumentValueError
    for keyword, value in keywords.items():
        if value is None:
            continue
        try:
            given[keyword] = _checked(keyword, _plain(value))
        except (ArgumentTypeError, ArgumentValueError) as found:
            wrong.append(str(found))
            error = ArgumentTypeError if isinstance(found, ArgumentTypeError) else error
    if wrong:
        raise error("\n".join(wrong))
    return given


def _plain(value: Any) -> Any:
    """Return a number of NumPy or torch as one of Python, and a tuple as a list."""
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return value.item()
    return operator.index(value) if hasattr(value, "__index__") else value


def _checked(keyword: str, value: Any) -> Any:
    if _is_switch(keyword) or True in WORDS.get(keyword, ()):
        if not isinstance(value, bool):
            raise ArgumentTypeError(f"`{keyword}`: expected `True` or `False`, got {_got(value)}")
        return value
    if keyword in WORDS:
        known = list(WORDS[keyword])
        if not isinstance(value, str):
            raise ArgumentTypeError(f"`{keyword}`: expected {' or '.join(map(repr, known))}, got {_got(value)}")
        if value not in known:
            raise _unknown_word(keyword, value, known)
        return value
    path = _path(keyword)
    section, field = _section(path), str(path[-1])
    try:
        made = section.model_validate({field: value})
    except ValidationError as error:
        raise _mistake(keyword, path, problems(error, path[:-1])[0]) from None
    return getattr(made, field)


def _mistake(keyword: str, path: Path, problem: Problem) -> ArgumentTypeError | ArgumentValueError:
    """Say in terms of the keyword what is wrong at ``path``; the problem may lie inside its value."""
    inner = problem.path[len(path) :]
    name = f"`{keyword}{''.join(f'[{step!r}]' for step in inner)}`"
    schemas = field_schema(problem.path)
    if problem.kind == "choice" and isinstance(problem.value, str):
        return _unknown_word(keyword, problem.value, [str(word) for word in choices(schemas)])
    if problem.kind == "range":
        limits = range_text(schemas)
        words = f"should be {limits}, got {number(problem.value)}" if limits else problem.message
        return ArgumentValueError(f"{name} {words}")
    if isinstance(problem.value, float) and not math.isfinite(problem.value):
        return ArgumentValueError(f"{name}: expected a finite number, got {problem.value}")
    if problem.kind in ("type", "length", "choice"):
        return ArgumentTypeError(f"{name}: expected {expected(schemas)}, got {_got(problem.value)}")
    return ArgumentValueError(f"{name}: {problem.message}")


def _unknown_word(keyword: str, value: str, known: list[str]) -> ArgumentValueError:
    words = ", ".join(f"`{word}`" for word in known)
    return ArgumentValueError(f"`{keyword}`: `{value}` is not one of {words}{did_you_mean(value, known)}")


def _got(value: Any) -> str:
    return got(value) if isinstance(value, (bool, int, float, str, list, tuple, dict)) else type(value).__name__
