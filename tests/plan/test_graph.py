"""The picture of a plan: one graph, written as Mermaid and as DOT, each by the rules of its language."""

from __future__ import annotations

import re

import pydot
import pytest

from ava import Config, Plan
from ava.load import list_presets
from ava.plan.dot import dot
from ava.plan.graph import graph_of
from ava.plan.mermaid import mermaid

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pydot")
PRESETS = [preset.name for preset in list_presets() if preset.origin == "shipped"]
NODE = re.compile(r'  (?P<name>\w+)(\(\["[^"]+"\]\)|\["[^"]+"\]|\(\("[^"]+"\)\))')
EDGE = re.compile(r'  (?P<start>\w+) (-- "(?P<label>[^"]+)" -->|-->) (?P<end>\w+)')


def plans():
    for name in PRESETS:
        yield pytest.param(Plan(Config.load(name)), id=name)
    weight = {"from": 0, "to": 0.5, "steps": 10}
    yield pytest.param(Plan(Config.load("standard", overrides={"terms.z_loss": {"weight": weight}})), id="schedule")


@pytest.mark.parametrize("plan", list(plans()))
def test_every_term_reaches_the_total_and_every_end_is_a_node(plan):
    nodes, edges = graph_of(plan)
    names = [node.name for node in nodes]
    assert len(set(names)) == len(names)
    assert {end for edge in edges for end in (edge.start, edge.end)} == set(names)
    into_total = [edge.start for edge in edges if edge.end == "total"]
    assert into_total == ["main_loss", *(planned.name for planned in plan.terms)]
    assert [node.label for node in nodes if node.kind == "argument"] == ["logits, targets", *plan.inputs]


@pytest.mark.parametrize("plan", list(plans()))
def test_dot_is_read_by_a_parser_of_dot(plan):
    (graph,) = pydot.graph_from_dot_data(dot(plan))
    nodes, edges = graph_of(plan)
    assert graph.get_type() == "digraph"
    read = {node.get_name().strip('"'): node.get("label").strip('"') for node in graph.get_nodes()}
    assert read == {node.name: node.label for node in nodes}
    arrows = [(edge.get_source().strip('"'), edge.get_destination().strip('"')) for edge in graph.get_edges()]
    assert arrows == [(edge.start, edge.end) for edge in edges]
    labels = [edge.get("label") for edge in graph.get_edges()]
    expected = [r"\n".join(edge.lines) for edge in edges]
    assert [(label or "").strip('"') for label in labels] == expected


@pytest.mark.parametrize("plan", list(plans()))
def test_mermaid_is_nodes_then_edges(plan):
    first, *lines = mermaid(plan).splitlines()
    assert first == "flowchart LR"
    nodes, edges = graph_of(plan)
    found = [NODE.fullmatch(line) for line in lines[: len(nodes)]]
    assert [match and match["name"] for match in found] == [node.name for node in nodes]
    arrows = [EDGE.fullmatch(line) for line in lines[len(nodes) :]]
    assert [match and (match["start"], match["end"]) for match in arrows] == [(edge.start, edge.end) for edge in edges]
    assert [match and (match["label"] or "").split("<br/>") for match in arrows] == [
        list(edge.lines) or [""] for edge in edges
    ]
