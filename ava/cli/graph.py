"""``ava-loss graph``: the plan of a configuration, as a Mermaid diagram."""

from __future__ import annotations

import typer

from ava.cli.options import OutputOption, PresetPath, Reference, Sets

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(graph)


def graph(reference: Reference, sets: Sets = None, preset_path: PresetPath = None, output: OutputOption = None) -> None:
    """Print what a configuration computes from what, as a Mermaid flowchart."""
    from ava.cli.output import Output
    from ava.cli.sources import load_config
    from ava.plan import Plan
    from ava.plan.mermaid import mermaid

    Output(output).write(mermaid(Plan(load_config(reference, sets, preset_path))))
