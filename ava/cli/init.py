"""``ava-loss init``: a first configuration to edit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ava.cli.options import Color, ColorOption, QuietOption, complete_preset

__all__ = ["register"]

DEFAULT = Path("ava-loss.yaml")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(init)


def init(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The new file, or a folder for it.")] = DEFAULT,
    extends: Annotated[
        str, typer.Option("--extends", metavar="PRESET", help="What it builds on.", autocompletion=complete_preset)
    ] = "standard",
    quiet: QuietOption = False,
    color: ColorOption = Color.AUTO,
) -> None:
    """Write a commented configuration. A file that is there is never touched."""
    from ava.cli.output import create_file, say
    from ava.cli.sources import preset_named
    from ava.config.starter import starter

    preset_named(extends, None)
    target = path / DEFAULT if path.is_dir() else path
    create_file(target, starter(extends))
    if not quiet:
        say(f"Wrote {target}. Next: ava-loss validate {target}")
