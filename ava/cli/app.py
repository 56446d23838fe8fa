"""The commands, put together. Only the module of the command that was asked for is imported."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

__all__ = ["COMMANDS", "build_app"]

COMMANDS = (
    "validate",
    "lint",
    "explain",
    "dry-run",
    "bench",
    "report",
    "diff",
    "presets",
    "init",
    "migrate",
    "schema",
    "graph",
    "rule",
    "rules",
)
"""In the order in which the help lists them; each is the module of that name, which defines ``register``."""

CONTEXT = {"help_option_names": ["-h", "--help"]}


def build_app(arguments: Sequence[str] = ()) -> typer.Typer:
    """Return the application: of all commands, or of the one that ``arguments`` begin with, which is faster."""
    app = typer.Typer(name="ava-loss", no_args_is_help=True, pretty_exceptions_enable=False, context_settings=CONTEXT)
    app.callback()(_main)
    asked = [name for name in arguments[:1] if name in COMMANDS and "_AVA_LOSS_COMPLETE" not in os.environ]
    for name in asked or COMMANDS:
        import_module(f"ava.cli.{name.replace('-', '_')}").register(app)
    for command in app.registered_commands:
        command.help = _help_of(command.callback.__doc__ or "") if command.callback else command.help
    return app


def _help_of(doc: str) -> str:
    """Return a docstring as help: lines joined into paragraphs, and brackets that are no markup.

    >>> _help_of("Run it,\\n    all of it.\\n\\n    Needs `x[torch]`.")
    'Run it, all of it.\\n\\nNeeds `x\\\\[torch]`.'
    """
    paragraphs = [" ".join(part.split()) for part in doc.strip().split("\n\n")]
    return re.sub(r"\[(?=[a-z])", r"\\[", "\n\n".join(paragraphs))


def _version(wanted: bool) -> None:
    if wanted:
        from ava import __version__

        typer.echo(f"ava-loss {__version__}")
        raise typer.Exit


def _main(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """The loss of a language model, as a file: validated like code, explained before it runs.

    Exit codes: 0 clean, 1 findings (whatever a file contains), 2 could not do it.
    """
