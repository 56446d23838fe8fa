"""``ava-loss rule``: the documentation of a rule."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ava.cli.options import Color, ColorOption, OutputOption

if TYPE_CHECKING:
    from ava.errors import Rule

__all__ = ["every_rule", "register"]


class Format(StrEnum):
    """How the rule is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(rule)


def every_rule() -> tuple[Rule, ...]:
    """Return every rule, by code."""
    from ava.config import RULES as VALIDATION
    from ava.load import RULES as READING
    from ava.run.dry_run.rules import RULES as MEASURED

    return tuple(sorted((*READING, *VALIDATION, *MEASURED), key=lambda rule: rule.code))


def _complete(incomplete: str) -> list[tuple[str, str]]:
    rules = every_rule()
    start = incomplete.upper()
    return [(rule.code, rule.name) for rule in rules if rule.code.startswith(start)] + [
        (rule.name, rule.code) for rule in rules if incomplete and rule.name.startswith(incomplete)
    ]


def rule(
    name: Annotated[
        str, typer.Argument(metavar="CODE|NAME", help="`AVA101`, or `unknown-key`.", autocompletion=_complete)
    ],
    format: Annotated[Format, typer.Option("--format", help="How it is written.")] = Format.TEXT,
    output: OutputOption = None,
    color: ColorOption = Color.AUTO,
) -> None:
    """Explain a rule: what it finds, why that is bad, and what to write instead."""
    from ava.cli.output import Output, dumps
    from ava.errors import ArgumentValueError, did_you_mean

    rules = every_rule()
    found = next((item for item in rules if name.upper() == item.code or name.lower() == item.name), None)
    if found is None:
        near = did_you_mean(name.lower(), [item.name for item in rules]) or did_you_mean(
            name.upper(), [item.code for item in rules]
        )
        raise ArgumentValueError(f"no rule is named `{name}`{near}; `ava-loss rules` lists them")
    out = Output(output, color)
    if format is Format.JSON:
        keys = ("code", "name", "severity", "doc")
        out.write(dumps({key: getattr(found, key) for key in keys}))
    elif format is Format.MARKDOWN:
        out.write(f"# {found.name} ({found.code})\n\nSeverity: {found.severity}\n\n{found.doc}")
    else:
        from ava.cli.render.rules import draw_rule

        out.draw(*draw_rule(found))
