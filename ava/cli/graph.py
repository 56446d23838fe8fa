"""``ava-loss graph``: the plan of a configuration, as a picture in text."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ava.cli.options import Color, ColorOption, OutputOption, PresetPath, QuietOption, Reference, Sets

__all__ = ["register"]


class Format(StrEnum):
    """The language of the picture."""

    MERMAID = "mermaid"
    DOT = "dot"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(graph)


def graph(
    reference: Reference,
    format: Annotated[
        Format, typer.Option("--format", help="Mermaid for Markdown, DOT for Graphviz, JSON for your own picture.")
    ] = Format.MERMAID,
    sets: Sets = None,
    preset_path: PresetPath = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    color: ColorOption = Color.AUTO,
) -> None:
    """Print what a configuration computes from what: arguments, numbers per row, terms, total."""
    from ava.cli.output import Output
    from ava.cli.sources import load_config
    from ava.plan import Plan

    plan = Plan(load_config(reference, sets, preset_path))
    out = Output(output)
    if format is Format.JSON:
        from dataclasses import asdict

        from ava.cli.output import dumps
        from ava.plan.graph import graph_of

        nodes, edges = graph_of(plan)
        out.write(dumps({"nodes": [asdict(node) for node in nodes], "edges": [asdict(edge) for edge in edges]}))
    elif format is Format.DOT:
        from ava.plan.dot import dot

        out.write(dot(plan))
    else:
        from ava.plan.mermaid import mermaid

        out.write(mermaid(plan))
