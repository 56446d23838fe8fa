"""``ava-loss validate``: the errors of configurations."""

from __future__ import annotations

from typing import Annotated

import typer

from ava.cli.formats import FindingsFormat
from ava.cli.options import Color, ColorOption, OutputOption, PresetPath, QuietOption, Sets, complete_preset

__all__ = ["register"]


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
    format: Annotated[FindingsFormat, typer.Option("--format", help="How findings are written.")] = FindingsFormat.TEXT,
    sets: Sets = None,
    preset_path: PresetPath = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    color: ColorOption = Color.AUTO,
) -> None:
    """Find every error in configurations, with its place.

    Exit code 1 where there is one, 2 where a path cannot be read.
    """
    from ava.cli.formats import announce, write_findings
    from ava.cli.output import Output, say
    from ava.cli.sources import check_all

    checked = check_all(paths, sets, preset_path)
    errors = [finding for finding in checked.findings if finding.severity == "error"]
    out = Output(output, color)
    out.write(
        write_findings(
            format,
            errors,
            texts=checked.texts,
            count=checked.count,
            colored=out.colored,
            quiet=quiet,
            fail_on="error",
            failures=checked.failures,
        )
    )
    if format is FindingsFormat.TEXT:
        announce(errors, checked.texts)
    for failure in checked.failures:
        say(f"error: {failure}")
    raise typer.Exit(2 if checked.failures else 1 if errors else 0)
