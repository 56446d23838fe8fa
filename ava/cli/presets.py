"""``ava-loss presets``: which there are, what one says, where it is."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ava.cli.options import Color, ColorOption, OutputOption, PresetPath, QuietOption, Sets, complete_preset

__all__ = ["register"]

Name = Annotated[str, typer.Argument(metavar="NAME", help="A preset's name.", autocompletion=complete_preset)]


class Format(StrEnum):
    """How the list is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="The presets: shipped, and in your own folders.", no_args_is_help=True)
    group.command("list")(list_all)
    group.command("show")(show)
    group.command("path")(path)
    app.add_typer(group, name="presets")


def list_all(
    format: Annotated[Format, typer.Option("--format", help="How the list is written.")] = Format.TEXT,
    preset_path: PresetPath = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    color: ColorOption = Color.AUTO,
) -> None:
    """List every preset that a name reaches: your folders first, then the shipped ones."""
    from ava.cli.output import Output, dumps
    from ava.cli.sources import preset_folders
    from ava.load import list_presets

    presets = list_presets(preset_folders(preset_path))
    out = Output(output, color)
    rows = [(preset.name, preset.origin, preset.description) for preset in presets]
    if format is Format.JSON:
        keys = ("name", "origin", "description", "path")
        out.write(dumps([{key: str(getattr(preset, key)) for key in keys} for preset in presets]))
    elif format is Format.MARKDOWN:
        from ava.cli.render.explain_markdown import table

        out.write(table(["preset", "from", "what it is for"], [(f"`{row[0]}`", *row[1:]) for row in rows]))
    else:
        from rich.text import Text

        from ava.cli.render.explain import plain_table

        drawn = plain_table("preset", "from", "what it is for")
        for row in rows:
            drawn.add_row(Text(row[0], "bold"), Text(_short(row[1]), "dim"), Text(row[2]))
        out.draw(drawn)


def _short(origin: str) -> str:
    """Return a folder below the current one by its path from there."""
    inside = os.path.isabs(origin) and Path(origin).is_relative_to(Path.cwd())  # noqa: PTH117
    return os.path.relpath(origin) if inside else origin


def show(
    name: Name,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="With parents and --set merged in, and defaults left out.")
    ] = False,
    sets: Sets = None,
    preset_path: PresetPath = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    color: ColorOption = Color.AUTO,
) -> None:
    """Print a preset's file; with --resolved or --set, the configuration that comes of it."""
    from ava.cli.output import Output
    from ava.cli.sources import load_config, preset_named

    preset = preset_named(name, preset_path)
    if resolved or sets:
        text = load_config(name, sets, preset_path).to_yaml()
    else:
        text = preset.path.read_text(encoding="utf-8", errors="replace")
    Output(output).write(text)


def path(
    name: Name,
    preset_path: PresetPath = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    color: ColorOption = Color.AUTO,
) -> None:
    """Print where a preset's file is."""
    from ava.cli.output import Output
    from ava.cli.sources import preset_named

    Output(output).write(str(preset_named(name, preset_path).path))
