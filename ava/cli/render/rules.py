"""Rules for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ava.errors import Rule, rule_url

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["COLORS", "draw_rule", "draw_rules", "rule_dict", "rule_markdown", "summary"]

COLORS = {"error": "red", "warning": "yellow", "info": "cyan"}


def summary(rule: Rule) -> str:
    """Return the first sentence of what a rule does."""
    lines = [line for line in rule.doc.splitlines() if line.strip() and not line.startswith("#")]
    text = lines[0].strip() if lines else ""
    return text.split(". ")[0].rstrip(".") + "." if text else ""


def rule_dict(rule: Rule) -> dict[str, Any]:
    """Return a rule as JSON has it, without its documentation."""
    return {"code": rule.code, "name": rule.name, "severity": rule.severity, "url": rule_url(rule.code, rule.name)}


def rule_markdown(rule: Rule) -> str:
    """Return a rule's page."""
    return f"# {rule.name} ({rule.code})\n\nSeverity: {rule.severity}\n\n{rule.doc}"


def draw_rule(rule: Rule) -> Iterator[RenderableType]:
    """Yield a rule's page: its Markdown, plainly."""
    from rich.padding import Padding
    from rich.text import Text

    yield Text.assemble((rule.code, "bold"), " ", rule.name, "  ", (rule.severity, COLORS[rule.severity]))
    code = False
    for line in rule.doc.strip().splitlines():
        if line.startswith("```"):
            code = not code
        elif code:
            yield Padding(Text(line, "cyan"), (0, 0, 0, 4))
        elif line.startswith("## "):
            yield Text(line.removeprefix("## "), "bold")
        else:
            yield Text(line)


def draw_rules(rules: Sequence[Rule]) -> RenderableType:
    """Return the table of rules."""
    from rich.text import Text

    from ava.cli.render.explain import plain_table

    table = plain_table("code", "name", "severity", "what it does")
    for rule in rules:
        tone = COLORS[rule.severity]
        table.add_row(Text(rule.code, "bold"), rule.name, Text(rule.severity, tone), Text(summary(rule)))
    table.columns[0].no_wrap = True
    return table
