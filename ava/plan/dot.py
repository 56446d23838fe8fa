"""A plan in the language of Graphviz."""

from __future__ import annotations

from ava.plan.graph import Kind, graph_of
from ava.plan.plan import Plan

__all__ = ["dot"]

_SHAPES: dict[Kind, str] = {"argument": "oval", "rows": "box", "term": "box", "total": "circle"}


def dot(plan: Plan) -> str:
    r"""Return the graph of a plan.

    >>> from ava.config import Config
    >>> print(dot(Plan(Config.load({"version": 1}))))
    digraph loss {
      rankdir=LR;
      "call" [label="logits, targets", shape=oval];
      "rows" [label="row statistics", shape=box];
      "main_loss" [label="main_loss", shape=box];
      "total" [label="total", shape=circle];
      "call" -> "rows";
      "rows" -> "main_loss" [label="target"];
      "main_loss" -> "total" [label="× 1"];
    }
    <BLANKLINE>
    """
    nodes, edges = graph_of(plan)
    lines = ["digraph loss {", "  rankdir=LR;"]
    lines += [f"  {_text(node.name)} [label={_text(node.label)}, shape={_SHAPES[node.kind]}];" for node in nodes]
    for edge in edges:
        label = f" [label={_text(*edge.lines)}]" if edge.lines else ""
        lines.append(f"  {_text(edge.start)} -> {_text(edge.end)}{label};")
    return "\n".join([*lines, "}"]) + "\n"


def _text(*lines: str) -> str:
    r"""Return a quoted text; lines are parted by ``\n``."""
    return '"' + r"\n".join(line.replace("\\", r"\\").replace('"', r"\"") for line in lines) + '"'
