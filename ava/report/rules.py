"""The rules of what a report is made from: AVA031 to AVA034."""

from __future__ import annotations

from ava.errors import Rule, Severity, documentation

__all__ = ["BROKEN_DRY_RUN", "BROKEN_RECORD", "CUT_RECORD", "EMPTY_LOG", "RULES"]


def _rule(code: str, name: str, severity: Severity, does: str, bad: str, example: str, instead: str) -> Rule:
    return Rule(code, name, severity, documentation(does, bad, example, instead, "json"))


BROKEN_RECORD = _rule(
    "AVA031",
    "broken-record",
    "error",
    "Finds, in a training log, a line that is no JSON object with a number named `step` (or `global_step`).",
    "The line's values are missing from the report, which is made from the other lines.",
    '{"step": 1, "loss/total": 10.8',
    '{"step": 1, "loss/total": 10.8}',
)
CUT_RECORD = _rule(
    "AVA032",
    "cut-record",
    "error",
    "Finds a training log whose last line has no end: the run was stopped while it wrote it, or is writing it now.",
    "The last step is missing from the report.",
    '{"step": 1, "loss/total": 10.8}\n{"step": 2, "loss/to',
    '{"step": 1, "loss/total": 10.8}\n{"step": 2, "loss/total": 10.7}',
)
EMPTY_LOG = _rule(
    "AVA033",
    "empty-log",
    "error",
    "Finds a training log in which no line holds a value.",
    "There is nothing to show: the run did not get to its first step, or writes to another file.",
    "",
    '{"step": 1, "loss/total": 10.8}',
)
BROKEN_DRY_RUN = _rule(
    "AVA034",
    "broken-dry-run",
    "error",
    "Finds a JSON file that is not what `ava-loss dry-run --format json` writes.",
    "No report can be made from it.",
    '{"preset": "standard", "terms": []}',
    '{"preset": "standard", "terms": {"main_loss": {"raw": 10.8, "weight": 1.0, "weighted": 10.8}}}',
)

RULES: tuple[Rule, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Rule))
