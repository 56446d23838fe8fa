"""The pages of ``docs/rules/``: one per rule, from its documentation, and the index."""

from __future__ import annotations

from ava.cli.render.explain_markdown import table
from ava.cli.render.rules import summary
from ava.cli.rule import every_rule
from ava.config import ROSTER
from ava.errors import Rule
from ava.terms.advice import Project

__all__ = ["rule_pages"]

FAMILIES = {
    "AVA0": ("Reading", "What a file may not be before its fields matter."),
    "AVA1": ("Validation", "Keys and values that the language does not have."),
    "AVA2": ("Outside the usual range", "Values that are valid, and far from what is usually right."),
    "AVA3": ("Conflicts, and what does nothing", "Fields and terms that contradict each other, or have no effect."),
    "AVA4": ("Cost", "What takes time or memory without need."),
    "AVA5": ("Numerics", "What loses precision, or runs away."),
    "AVA6": ("Legacy keys", "Keywords of the flat `UnifiedLoss`."),
}
FOUND_BY = {"AVA45": "dry-run", "AVA55": "dry-run", "AVA0": "validate", "AVA1": "validate", "AVA6": "validate"}
FIXED = ("AVA101", "AVA104", "AVA301", "AVA303", "AVA601")


def rule_pages() -> dict[str, str]:
    """Return every page, by its path under ``docs/``."""
    return {"rules/index.md": index(), **{f"rules/{rule.name}.md": page(rule) for rule in every_rule()}}


def page(rule: Rule) -> str:
    """Return a rule's page."""
    command = next((command for code, command in FOUND_BY.items() if rule.code.startswith(code)), "lint")
    facts = [f"Severity: {rule.severity}", f"found by `ava-loss {command}`"]
    if rule.code in FIXED:
        facts.append("`--fix` may mend it")
    terms = [name for name, term in ROSTER.items() if rule in term.rules]
    facts += [f"a rule of [`{name}`](../terms/{name}.md)" for name in terms]
    text = f"# {rule.name} ({rule.code})\n\n{' · '.join(facts)}\n\n{rule.doc}"
    settings = _settings(getattr(rule, "project", Project()))
    if settings:
        text += f"\nThe example is one with these settings in `pyproject.toml`:\n\n```toml\n{settings}```\n"
    if rule.severity != "error" and command == "lint":
        text += (
            f"\nTo keep a value that is meant, end its line with `# ava: ignore[{rule.code}]` "
            f"(or `[{rule.name}]`) and say why.\n"
        )
    return text


def _settings(project: Project) -> str:
    values = {
        "sequence-length": project.sequence_length,
        "batch-size": project.batch_size,
        "training-steps": project.training_steps,
        "dtype": project.dtype,
    }
    rows = [
        f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}"
        for key, value in values.items()
        if value is not None
    ]
    return "".join(f"{row}\n" for row in ["[tool.ava-loss]", *rows]) if rows else ""


def index() -> str:
    """Return the list of rules."""
    parts = [
        "# Rules",
        "Each finding has a code and a name; either selects it. `ava-loss rule CODE` prints a page like these. How to "
        "choose rules, suppress advice and apply fixes: [linting](../lint.md).",
    ]
    rules = every_rule()
    for prefix, (title, text) in FAMILIES.items():
        rows = [
            [f"[{rule.code}]({rule.name}.md)", f"`{rule.name}`", rule.severity, summary(rule)]
            for rule in rules
            if rule.code.startswith(prefix)
        ]
        parts.append(f"## {title}\n\n{text}\n\n{table(['code', 'name', 'severity', 'what it does'], rows).strip()}")
    return "\n\n".join(parts) + "\n"
