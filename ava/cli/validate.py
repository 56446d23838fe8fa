"""``ava-loss validate``: the errors of configurations."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ava.cli.options import Color, ColorOption, OutputOption, PresetPath, QuietOption, Sets, complete_preset

__all__ = ["register"]


class Format(StrEnum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(validate)


def validate(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Files, folders, globs, presets' names, or `-` for standard input.",
            autocompletion=complete_preset,
        ),
    ],
    format: Annotated[Format, typer.Option("--format", help="How findings are written.")] = Format.TEXT,
    sets: Sets = None,
    preset_path: PresetPath = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    color: ColorOption = Color.AUTO,
) -> None:
    """Find every error in configurations, with its place.

    Exit code 1 where there is one, 2 where a path cannot be read.
    """
    from ava.cli.output import Output, say
    from ava.cli.render.findings import findings_json, findings_text, github_annotations, in_github, step_summary
    from ava.cli.sources import check_all

    checked = check_all(paths, sets, preset_path)
    errors = [finding for finding in checked.findings if finding.severity == "error"]
    out = Output(output, color)
    if format is Format.JSON:
        out.write(findings_json(errors))
    elif format is Format.GITHUB:
        out.write(github_annotations(errors))
    else:
        out.write(findings_text(errors, checked.texts, checked.count, colored=out.colored, quiet=quiet))
        if in_github():
            Output().write(github_annotations(errors, limit=10))
            step_summary(errors)
    for failure in checked.failures:
        say(f"error: {failure}")
    raise typer.Exit(2 if checked.failures else 1 if errors else 0)
