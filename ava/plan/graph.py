"""A plan as nodes and edges: arguments of a call, numbers per row, terms, total. What both pictures are drawn from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ava.numbers import short
from ava.plan.explain_term import MAIN
from ava.plan.plan import Plan
from ava.terms.base import Needs, Schedule, Weight

__all__ = ["Edge", "Node", "graph_of"]

_TAKEN = ("call", "rows", "total", "end", "graph", "subgraph", "flowchart", "style", "class", "click", "default")
Kind = Literal["argument", "rows", "term", "total"]


@dataclass(frozen=True, slots=True)
class Node:
    """A box of the picture."""

    name: str
    kind: Kind
    label: str


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow, with the lines written on it."""

    start: str
    end: str
    lines: tuple[str, ...] = ()


def graph_of(plan: Plan) -> tuple[tuple[Node, ...], tuple[Edge, ...]]:
    """Return the nodes and edges of a plan, each once, in the order of the plan."""
    terms = [(MAIN, plan.primary.needs(), 1.0), *((item.name, item.needs, item.term.weight) for item in plan.terms)]
    nodes = [Node("call", "argument", "logits, targets"), Node("rows", "rows", "row statistics")]
    nodes += [Node(f"in_{name}", "argument", name) for name in plan.inputs]
    nodes += [Node(_id(name), "term", name) for name, _, _ in terms]
    return (*nodes, Node("total", "total", "total")), tuple(_edges(terms))


def _edges(terms: Iterable[tuple[str, Needs, Weight]]) -> Iterator[Edge]:
    yield Edge("call", "rows")
    for name, needs, _ in terms:
        facts = (*sorted(map(str, needs.statistics)), *map(str, needs.picks), *sorted(needs.positions))
        if facts:
            yield Edge("rows", _id(name), facts)
        yield from (Edge(f"in_{argument}", _id(name)) for argument in needs.inputs)
    for name, _, weight in terms:
        yield Edge(_id(name), "total", (f"× {_weight(weight)}",))


def _id(term: str) -> str:
    """Return the name of a term's node: one that is neither taken nor a word of Mermaid's."""
    return f"term_{term}" if term in _TAKEN or term.startswith(("in_", "term_")) else term


def _weight(weight: Weight) -> str:
    return f"{short(weight.start)} → {short(weight.to)}" if isinstance(weight, Schedule) else short(weight)
