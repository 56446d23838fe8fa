"""Options that several commands share, so that they read and behave alike."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Color",
    "ColorOption",
    "OutputOption",
    "PresetPath",
    "QuietOption",
    "Reference",
    "Sets",
]


class Color(StrEnum):
    """When text is coloured."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def complete_preset(incomplete: str) -> list[tuple[str, str]]:
    """Return the presets that start with what is typed, with their descriptions."""
    from ava.cli.sources import preset_folders
    from ava.errors import SourceError
    from ava.load import list_presets

    try:
        presets = list_presets(preset_folders(None))
    except SourceError:  # a pyproject.toml that is wrong: the command says so
        presets = list_presets()
    return [(preset.name, preset.description) for preset in presets if preset.name.startswith(incomplete)]


Reference = Annotated[
    str,
    typer.Argument(
        metavar="PRESET", help="A preset's name, a path, or `-` for standard input.", autocompletion=complete_preset
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a value, as in `terms.z_loss.weight=0.1`. Repeatable."),
]
PresetPath = Annotated[
    list[Path] | None,
    typer.Option("--preset-path", metavar="FOLDER", help="Look for presets here first. Repeatable."),
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the result to a file instead of stdout.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Leave out everything but the result.")]
ColorOption = Annotated[Color, typer.Option("--color", help="When to use colour; NO_COLOR switches it off too.")]
