"""``ava-loss rules``: the list of rules."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ava.cli.options import Color, ColorOption, OutputOption

__all__ = ["register"]


class Format(StrEnum):
    """How the list is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(rules)


def rules(
    format: Annotated[Format, typer.Option("--format", help="How the list is written.")] = Format.TEXT,
    output: OutputOption = None,
    color: ColorOption = Color.AUTO,
) -> None:
    """List every rule."""
    from ava.cli.output import Output, dumps
    from ava.cli.render.rules import draw_rules, summary
    from ava.cli.rule import every_rule

    listed = every_rule()
    out = Output(output, color)
    if format is Format.JSON:
        keys = ("code", "name", "severity")
        out.write(dumps([{key: getattr(rule, key) for key in keys} | {"summary": summary(rule)} for rule in listed]))
    elif format is Format.MARKDOWN:
        from ava.cli.render.explain_markdown import table

        rows = [(rule.code, f"`{rule.name}`", rule.severity, summary(rule)) for rule in listed]
        out.write(table(["code", "name", "severity", "what it does"], rows))
    else:
        out.draw(draw_rules(listed))
