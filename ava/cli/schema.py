"""``ava-loss schema``: the JSON Schema of the configuration language."""

from __future__ import annotations

import typer

from ava.cli.options import Color, ColorOption, OutputOption, QuietOption

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(schema)


def schema(
    output: OutputOption = None,
    quiet: QuietOption = False,
    color: ColorOption = Color.AUTO,
) -> None:
    """Print the JSON Schema (draft 7) that editors complete and check configurations with.

    It has the terms of installed packages too, which the shipped file does not know.
    """
    from ava.cli.output import Output, say
    from ava.config.roster import BrokenTermError, external_names, find_term
    from ava.config.schema import schema_text

    classes = []
    for name in external_names():
        try:
            classes.append(find_term(name))
        except BrokenTermError as error:
            say(f"warning: {error}; the schema leaves it out")
    Output(output).write(schema_text(tuple(cls for cls in classes if cls is not None)))
