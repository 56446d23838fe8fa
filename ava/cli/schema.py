"""``ava-loss schema``: the JSON Schema of the configuration language."""

from __future__ import annotations

import typer

from ava.cli.options import OutputOption

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(schema)


def schema(output: OutputOption = None) -> None:
    """Print the JSON Schema (draft 7) that editors complete and check configurations with."""
    from ava.cli.output import Output
    from ava.config.schema import schema_text

    Output(output).write(schema_text())
