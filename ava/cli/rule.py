"""``ava-loss rule``: the documentation of a rule."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ava.cli.options import Color, ColorOption, OutputOption, QuietOption

if TYPE_CHECKING:
    from ava.errors import Rule

__all__ = ["complete", "every_rule", "register"]


class Format(StrEnum):
    """How the rule is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(rule)


def every_rule(*, external: bool = False) -> tuple[Rule, ...]:
    """Return every rule, by code; with ``external`` those of other packages' terms too, which are imported for it."""
    from ava.lint import RULES, known_rules
    from ava.report.rules import RULES as REPORTED
    from ava.run.dry_run.rules import RULES as MEASURED

    return tuple(sorted((*(known_rules() if external else RULES), *MEASURED, *REPORTED), key=lambda rule: rule.code))


def complete(incomplete: str) -> list[tuple[str, str]]:
    """Return the codes and names that start with what is typed, each with the other."""
    rules = every_rule()
    start = incomplete.upper()
    return [(rule.code, rule.name) for rule in rules if rule.code.startswith(start)] + [
        (rule.name, rule.code) for rule in rules if incomplete and rule.name.startswith(incomplete)
    ]


def rule(
    name: Annotated[
        str, typer.Argument(metavar="CODE|NAME", help="`AVA101`, or `unknown-key`.", autocompletion=complete)
    ],
    format: Annotated[Format, typer.Option("--format", help="How it is written.")] = Format.TEXT,
    output: OutputOption = None,
    quiet: QuietOption = False,
    color: ColorOption = Color.AUTO,
) -> None:
    """Explain a rule: what it finds, why that is bad, and what to write instead."""
    from ava.cli.output import Output, dumps
    from ava.cli.render.rules import draw_rule, rule_dict, rule_markdown

    found = _named(name)
    out = Output(output, color)
    if format is Format.JSON:
        out.write(dumps(rule_dict(found) | {"doc": found.doc}))
    elif format is Format.MARKDOWN:
        out.write(rule_markdown(found))
    else:
        out.draw(*draw_rule(found))


def _named(name: str) -> Rule:
    from ava.errors import ArgumentValueError, did_you_mean

    rules: tuple[Rule, ...] = ()
    for external in (False, True):
        rules = every_rule(external=external)
        for item in rules:
            if name.upper() == item.code.upper() or name.lower() == item.name:
                return item
    near = did_you_mean(name.lower(), [item.name for item in rules]) or did_you_mean(
        name.upper(), [item.code for item in rules]
    )
    raise ArgumentValueError(f"no rule is named `{name}`{near or '; `ava-loss rules` lists them'}")
