"""``ava-loss rules``: the list of rules."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ava.cli.options import Color, ColorOption, OutputOption, QuietOption

__all__ = ["register"]


class Format(StrEnum):
    """How the list is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


class Kind(StrEnum):
    """How grave what a rule finds is."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(rules)


def _complete(incomplete: str) -> list[tuple[str, str]]:
    from ava.cli.rule import complete

    return complete(incomplete)


def rules(
    select: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RULES", help="Codes, beginnings of codes such as AVA2, or names.", autocompletion=_complete
        ),
    ] = None,
    severity: Annotated[
        list[Kind] | None, typer.Option("--severity", help="Only rules of this severity. Repeatable.")
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="How the list is written.")] = Format.TEXT,
    output: OutputOption = None,
    quiet: QuietOption = False,
    color: ColorOption = Color.AUTO,
) -> None:
    """List every rule, or those asked for."""
    from ava.cli.output import Output, dumps
    from ava.cli.render.rules import draw_rules, rule_dict, summary
    from ava.cli.rule import every_rule
    from ava.errors import ArgumentValueError, did_you_mean
    from ava.lint.select import matches

    known = every_rule(external=True)
    for word in select or ():
        if not any(matches(word, rule.code, rule.name) for rule in known):
            near = did_you_mean(word.lower(), [rule.name for rule in known])
            raise ArgumentValueError(f"no rule is called `{word}`{near or '; without an argument all are listed'}")
    listed = [
        rule
        for rule in known
        if (not select or any(matches(word, rule.code, rule.name) for word in select))
        and (not severity or rule.severity in severity)
    ]
    out = Output(output, color)
    if format is Format.JSON:
        out.write(dumps([rule_dict(rule) | {"summary": summary(rule)} for rule in listed]))
    elif format is Format.MARKDOWN:
        from ava.cli.render.explain_markdown import table

        rows = [(rule.code, f"`{rule.name}`", rule.severity, summary(rule)) for rule in listed]
        out.write(table(["code", "name", "severity", "what it does"], rows))
    else:
        out.draw(draw_rules(listed))
