"""A plan as a Mermaid flowchart."""

from __future__ import annotations

from ava.plan.graph import Kind, graph_of
from ava.plan.plan import Plan

__all__ = ["mermaid"]

_SHAPES: dict[Kind, tuple[str, str]] = {
    "argument": ("([", "])"),
    "rows": ("[", "]"),
    "term": ("[", "]"),
    "total": ("((", "))"),
}


def mermaid(plan: Plan) -> str:
    """Return the flowchart of a plan.

    >>> from ava.config import Config
    >>> print(mermaid(Plan(Config.load({"version": 1, "terms": {"z_loss": {}}}))))
    flowchart LR
      call(["logits, targets"])
      rows["row statistics"]
      main_loss["main_loss"]
      z_loss["z_loss"]
      total(("total"))
      call --> rows
      rows -- "target" --> main_loss
      rows -- "lse" --> z_loss
      main_loss -- "× 1" --> total
      z_loss -- "× 0.0001" --> total
    <BLANKLINE>
    """
    nodes, edges = graph_of(plan)
    lines = ["flowchart LR"]
    for node in nodes:
        left, right = _SHAPES[node.kind]
        lines.append(f'  {node.name}{left}"{_text(node.label)}"{right}')
    for edge in edges:
        arrow = f'-- "{"<br/>".join(map(_text, edge.lines))}" -->' if edge.lines else "-->"
        lines.append(f"  {edge.start} {arrow} {edge.end}")
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """Return ``text`` as it may stand between quotes."""
    return text.replace("#", "#35;").replace('"', "#quot;")
