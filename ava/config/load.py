"""``Config.load``: read, lay overrides and the caller's keywords on top, validate."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from ava.config.messages import KEYWORDS
from ava.config.model import Config, Model
from ava.config.problems import problems
from ava.config.validation import validate
from ava.config.words import expected, field_schema, got, range_text
from ava.config.write import minimal
from ava.errors import ArgumentTypeError, ArgumentValueError, ConfigError, Span, did_you_mean
from ava.load import OVERRIDES, Entry, Node, Source, load
from ava.load.overrides import Overrides, parse_overrides
from ava.load.resolver import bounded
from ava.load.source import merge

__all__ = ["load_config", "with_keywords"]


def load_config(
    source: str | os.PathLike[str] | Mapping[str, Any] | Config,
    *,
    overrides: Overrides | None = None,
    preset_path: Sequence[str | os.PathLike[str]] = (),
    model: Mapping[str, Any],
) -> Config:
    """Return what :meth:`ava.Config.load` returns."""
    if isinstance(source, Config):
        if overrides is None and all(value is None for value in model.values()):
            _checked(model)
            return source
        loaded = _reloaded(source, overrides)
    else:
        loaded = load(source, overrides=overrides, preset_path=preset_path)
    config, findings = validate(with_keywords(loaded, model))
    if config is None:
        raise ConfigError(finding for finding in findings if finding.severity == "error")
    return config


def _reloaded(config: Config, overrides: Overrides | None) -> Source:
    """Return the source of a finished configuration, with overrides on top."""
    source = config.source
    if source is None:
        return load(minimal(config), overrides=overrides)
    if overrides is None:
        return source
    node, text = parse_overrides(overrides)
    return replace(source, root=Node(merge(source.root, node).value, source.root.span), texts={OVERRIDES: text})


def with_keywords(source: Source, model: Mapping[str, Any]) -> Source:
    """Return ``source`` with the fields of ``model`` that it leaves open filled from the caller's keywords.

    Raises :class:`~ava.errors.ArgumentTypeError` or :class:`~ava.errors.ArgumentValueError` for a keyword that does
    not exist, has a wrong value, or says something else than the source.
    """
    entries: dict[str, Entry] = {}
    for name, value in _checked(model).items():
        there = source.get(("model", name))
        span = Span(KEYWORDS, 1, 1, 1, 1)
        if there is None or there.value is None:
            entries[name] = Entry(name, span, Node(value, span))
        elif isinstance(there.value, (int, float)) and there.value != value:
            raise ArgumentValueError(
                f"{name}: the keyword says {value}, and `model.{name}` at {there.span} says {there.value}; "
                f"leave one of them out, or use overrides={{'model.{name}': {value}}}"
            )
    section = source.get(("model",))
    if not entries or (section is not None and not isinstance(section.value, dict)):
        return source
    span = section.span if section is not None else source.root.span
    laid = Node({"model": Entry("model", span, Node(dict(entries), span))}, source.root.span)
    return replace(source, root=merge(source.root, laid))


def _checked(model: Mapping[str, Any]) -> dict[str, int | float]:
    """Return the keywords that are set, as plain numbers."""
    checked: dict[str, int | float] = {}
    for name, value in model.items():
        if name not in Model.model_fields:
            raise ArgumentTypeError(f"unknown keyword `{name}`{did_you_mean(name, Model.model_fields)}")
        if value is None:
            continue
        if not isinstance(value, (bool, int, float, str)) and hasattr(value, "__index__"):
            value = operator.index(value)  # an integer of NumPy or torch
        if isinstance(value, int) and not isinstance(value, bool):
            value = bounded(value)
        try:
            Model.model_validate({name: value})
        except ValidationError as error:
            schemas = field_schema(("model", name))
            problem = problems(error)[0]
            if problem.kind == "range":
                raise ArgumentValueError(f"{name} should be {range_text(schemas)}, got {value}") from None
            what = got(value) if isinstance(value, (bool, int, float, str, list, tuple, dict)) else type(value).__name__
            raise ArgumentTypeError(f"{name}: expected {expected(schemas)}, got {what}") from None
        checked[name] = value
    return checked
