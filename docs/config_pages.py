"""``docs/reference/configuration.md``: every section and field of the language, from the models."""

from __future__ import annotations

import inspect
from typing import Any

from ava.cli.render.explain_markdown import table
from ava.cli.render.words import range_text, value_text
from ava.config import ROSTER
from ava.config.model import Compile, Config, Model, Reduction, Targets
from ava.config.words import expected, field_schema
from ava.config.words import range_text as limits_text
from ava.plan.explain_term import paragraphs
from ava.terms.base import Schedule, Section, is_runtime
from ava.terms.main_loss import PrimaryLoss, Temperature

__all__ = ["PAGE", "config_page"]

PAGE = "reference/configuration.md"
SECTIONS: tuple[tuple[str, tuple[str, ...], type[Section]], ...] = (
    ("model", ("model",), Model),
    ("targets", ("targets",), Targets),
    ("primary", ("primary",), PrimaryLoss),
    ("primary.temperature", ("primary", "temperature"), Temperature),
    ("reduction", ("reduction",), Reduction),
    ("compile", ("compile",), Compile),
)
HEAD = """\
# Configuration

A configuration is a YAML file: a mapping with `version: 1`, and any of the sections below. What is left out has its
default. `ava-loss validate FILE` holds a file against this page, `ava-loss explain FILE` shows what comes of it, and
`ava-loss schema` prints the same as a JSON Schema, which editors read.

```yaml
version: 1
extends: standard
model: {vocab_size: 50257, eos_token_id: 50256}
terms:
  ngram_penalty: {weight: 0.2, window: 64}
  eos_penalty: null
```

**Static** fields are part of the compiled graph: a change compiles again. **Runtime** fields reach the graph as
tensors: a change never recompiles. Which of them a configuration uses at all is in `ava-loss explain FILE`.
"""
EXTENDS = (
    "`extends` names a preset, a file (relative to this one), or a list of them. Parents are merged first, in their "
    "order, then this file over them: mappings field by field, everything else whole. `null` for a term switches an "
    "inherited one off. `ava-loss presets show NAME --resolved` prints what comes of it."
)
READING = """\
## How a file is read

- YAML 1.2 values: `true` and `false` are the only switches, `on` and `yes` are text; `1e-4` is a number.
- A key twice, a tag, a directive, a tab that indents and a merge key are errors, each with a
  [rule](../rules/index.md).
- Every error is reported at its place, all of them in one run.
- `--set terms.z_loss.weight=0.1` on the command line and `overrides={"terms.z_loss.weight": 0.1}` in Python lie on top
  of the file. Keywords of `Loss.load` (`vocab_size=…`) fill the fields of `model` that the file leaves open.
"""


def config_page() -> str:
    """Return the page."""
    parts = [HEAD.strip(), "## Top level", _top(), EXTENDS]
    for title, path, section in SECTIONS:
        parts += [f"## {title}", *_prose(section), _fields(section, path)]
        if section is PrimaryLoss:
            parts.append("Its maths: [main_loss](../terms/main_loss.md).")
    parts += [
        "## terms",
        "A term is on when it is named, also as `NAME: {}`. Fields that every term has are `weight`, a number or a "
        "[schedule](#schedules), and `if_missing`: what a call without the tensors that the term needs does.",
    ]
    for name, cls in ROSTER.items():
        parts += [f"### {name}", f"{paragraphs(cls)[0]} [Its page](../terms/{name}.md)."]
        parts.append(_fields(cls, ("terms", name), cls.recommended))
    parts += ["## Schedules", " ".join(paragraphs(Schedule)[:2]), _schedule(), READING.strip()]
    return "\n\n".join(parts) + "\n"


def _prose(section: type[Section]) -> tuple[str, ...]:
    if section is PrimaryLoss:
        return ("The primary loss, which is always there.",)
    return tuple(paragraphs(section)[:1])


def _row(section: type[Section], name: str, path: tuple[str, ...], usual: tuple[float, float] | None) -> list[str]:
    field = section.model_fields[name]
    key = field.alias or name
    schemas = field_schema((*path, key))
    limits = limits_text(schemas)
    change = "" if name in ("version", "description") else "runtime" if is_runtime(section, name) else "static"
    default = _default(field)
    accepts = expected(schemas) + (f", {limits}" if limits else "")
    return [f"`{key}`", accepts, default, range_text(usual), change, field.description or ""]


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Section):
        return "as below"
    text = value_text(list(value) if isinstance(value, tuple) else value)
    return f"`{text}`" if text else "empty"


def _fields(section: type[Section], path: tuple[str, ...], usual: dict[str, tuple[float, float]] | None = None) -> str:
    usual = usual or {}
    rows = [_row(section, name, path, usual.get(name)) for name in section.model_fields]
    if any(row[3] for row in rows):
        return table(["field", "accepts", "default", "usual", "change", "meaning"], rows).strip()
    rows = [row[:3] + row[4:] for row in rows]
    return table(["field", "accepts", "default", "change", "meaning"], rows).strip()


def _top() -> str:
    rows = []
    for name, field in Config.model_fields.items():
        value = field.get_default(call_default_factory=True)
        if isinstance(value, Section):
            first = paragraphs(type(value))[0] if type(value) is not PrimaryLoss else "The primary loss."
            link = f"[below](#{name})"
            rows.append([f"`{name}`", "a mapping", link, "", first])
        else:
            row = _row(Config, name, (), None)
            rows.append(row[:3] + row[4:])
    version = rows.pop(0)
    rows.insert(0, [version[0], version[1], "required", version[3], version[4]])
    rows.insert(1, ["`extends`", "a name, a path, or a list of them", "nothing", "", "What this file builds on."])
    return table(["field", "accepts", "default", "change", "meaning"], rows).strip()


def _schedule() -> str:
    rows = []
    for name, field in Schedule.model_fields.items():
        key = field.alias or name
        schemas = field_schema(("terms", "z_loss", "weight", key))
        limits = limits_text(schemas)
        accepts = expected(schemas) + (f", {limits}" if limits else "")
        rows.append([f"`{key}`", accepts, _default(field), inspect.cleandoc(field.description or "")])
    example = "```yaml\nversion: 1\nterms:\n  z_loss: {weight: {from: 0.0, to: 1e-4, steps: 2000, shape: cosine}}\n```"
    return table(["field", "accepts", "default", "meaning"], rows).strip() + f"\n\n{example}"
