"""Optuna: a configuration for each trial, drawn from the terms' recommended ranges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ava.config import Config
from ava.errors import ArgumentTypeError, ArgumentValueError, did_you_mean
from ava.terms.base import Schedule, Term

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

__all__ = ["search_space", "suggest"]

_DECADE = 10.0

Range = tuple[float, float]


def suggest(trial: BaseTrial, config: Config, fields: Iterable[str] | Mapping[str, Range] | None = None) -> Config:
    """Return the configuration with values that the trial suggests.

    Each parameter of the trial is named by its path, ``terms.z_loss.weight``. Integers stay integers; a weight whose
    range spans more than a factor of ten is drawn on a logarithmic scale. Of a schedule, the larger end is drawn.

    >>> from optuna.trial import FixedTrial
    >>> config = Config.load({"version": 1, "terms": {"z_loss": {}, "ngram_penalty": {}}})
    >>> trial = FixedTrial({"terms.z_loss.weight": 5e-4})
    >>> suggest(trial, config, fields=["z_loss"]).terms.z_loss.weight
    0.0005

    Args:
        trial: of a study, or a ``FixedTrial``.
        config: names the terms; only these are searched, and a term whose weight is 0 is not.
        fields: what to search: paths (``terms.z_loss.weight``), terms (``z_loss``, all of its fields) or fields of
            all terms (``weight``); or a mapping from paths to ranges of your own. By default every field that has a
            recommended range.

    Raises:
        ArgumentValueError: a field that no term of the configuration has, or no range for it.
        ConfigError: the values do not go together.
    """
    overrides: dict[str, Any] = {}
    terms = {term.name: term for term in config.terms.enabled}
    for path, (low, high) in search_space(config, fields).items():
        name, field = path.split(".")[1:3]
        if type(terms[name]).model_fields[field].annotation is int:
            value: float = trial.suggest_int(path, int(low), int(high))
        else:
            log = field == "weight" and low > 0 and high / low > _DECADE
            value = trial.suggest_float(path, low, high, log=log)
        overrides[path + _end(getattr(terms[name], field))] = value
    return Config.load(config, overrides=overrides) if overrides else config


def search_space(config: Config, fields: Iterable[str] | Mapping[str, Range] | None = None) -> dict[str, Range]:
    """Return the range of every field that :func:`suggest` searches, by its path."""
    if not isinstance(config, Config):
        raise ArgumentTypeError(f"`config` should be an `ava.Config`, but is {type(config).__name__}.")
    if isinstance(fields, str):
        raise ArgumentTypeError(f"`fields` should be a list of names, but is a string; write [{fields!r}].")
    terms = {term.name: term for term in config.terms.enabled}
    known = {
        f"terms.{name}.{field}": span
        for name, term in terms.items()
        if term.weight_at(0) or isinstance(term.weight, Schedule)
        for field, span in type(term).recommended.items()
    }
    if fields is None:
        return known
    if isinstance(fields, Mapping):
        return {_own(path, terms): _checked(path, span) for path, span in fields.items()}
    space: dict[str, Range] = {}
    for wanted in fields:
        found = {path: span for path, span in known.items() if wanted in _names(path)}
        if not found:
            words = {word for path in known for word in _names(path)}
            raise ArgumentValueError(
                f"`{wanted}` is no field with a recommended range of a term that is on"
                f"{did_you_mean(wanted, sorted(words))}; for a range of your own write "
                f"fields={{'terms.NAME.FIELD': (low, high)}}."
            )
        space.update(found)
    return space


def _names(path: str) -> tuple[str, ...]:
    """Return what may select a field: its path, its path below ``terms``, its term, its own name."""
    _, term, field = path.split(".")
    return path, f"{term}.{field}", term, field


def _own(path: str, terms: Mapping[str, Term]) -> str:
    parts = path.removeprefix("terms.").split(".")
    known = [f"terms.{name}.{field}" for name, term in terms.items() for field in type(term).model_fields]
    if f"terms.{'.'.join(parts)}" not in known:
        raise ArgumentValueError(f"`{path}` is no field of a term that is on{did_you_mean(path, known)}.")
    return f"terms.{'.'.join(parts)}"


def _checked(path: str, span: object) -> Range:
    if not isinstance(span, (tuple, list)) or len(span) != 2 or not span[0] < span[1]:
        raise ArgumentValueError(f"the range of `{path}` should be (low, high) with low < high, but is {span!r}.")
    return span[0], span[1]


def _end(value: object) -> str:
    if not isinstance(value, Schedule):
        return ""
    return ".to" if value.to >= value.start else ".from"
