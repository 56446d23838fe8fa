"""Changes of whole files: new, gone, no longer readable, or only written differently."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ava.config.change import Change
from ava.config.model import Config
from ava.errors import Finding
from ava.load import Source
from ava.load.source import Node
from ava.plan.diff.walk import plain

__all__ = ["broken", "gone", "layout", "new"]


def new(name: str, before: str, where: str) -> Change:
    """Return the change of the file ``name``, where there is none called ``before``."""
    return Change((), "breaking", None, name, f"new: there is no {before} {where}", name, 1)


def gone(name: str, after: str, where: str) -> Change:
    """Return the change of the file ``name``, where there is none called ``after`` any more."""
    return Change((), "breaking", name, None, f"deleted: there is no {after} {where}", after, 1)


def broken(before: Config, findings: Iterable[Finding]) -> tuple[Change, ...]:
    """Return a change for each mistake of a configuration that no longer loads."""
    return tuple(
        Change(
            finding.path,
            "breaking",
            _value(before, finding),
            None,
            f"no longer loads: {finding.code} {finding.name}: {finding.message}",
            finding.span.file,
            finding.span.line,
        )
        for finding in findings
        if finding.severity == "error"
    )


def _value(config: Config, finding: Finding) -> Any:
    value: Any = config
    for step in finding.path:
        value = value[step] if isinstance(value, tuple) and isinstance(step, int) else getattr(value, str(step), None)
    return plain(value) if finding.path else None


def layout(before: Source, after: Source) -> tuple[Change, ...]:
    """Return the change of a file that says the same in another text; none where the texts are equal too."""
    old, text = (source.texts.get(source.name) for source in (before, after))
    if old == text or old is None or text is None:
        return ()
    ordered = _order(before.root) != _order(after.root)
    words = "the keys are in another order" if ordered else "comments or layout only"
    return (Change((), "cosmetic", None, None, words, after.name, 1),)


def _order(node: Node) -> Any:
    if isinstance(node.value, dict):
        return [(key, _order(entry.node)) for key, entry in node.value.items()]
    return None
