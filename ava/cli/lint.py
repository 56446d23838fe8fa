"""``ava-loss lint``: errors and advice, and their safe fixes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ava.cli.formats import FindingsFormat
from ava.cli.options import Color, ColorOption, OutputOption, PresetPath, QuietOption, Sets, complete_preset

__all__ = ["register"]


class FailOn(StrEnum):
    """The mildest severity that makes the exit code 1."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(lint)


def _complete_rule(incomplete: str) -> list[tuple[str, str]]:
    from ava.cli.rule import complete

    return complete(incomplete)


_RULES = "Rules: codes, beginnings of codes such as AVA2, or names; commas between. Repeatable."


def lint(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Files, folders, globs, presets' names, or `-` for standard input.",
            autocompletion=complete_preset,
        ),
    ],
    select: Annotated[
        list[str] | None,
        typer.Option(metavar="RULES", help=f"Give only this advice. {_RULES}", autocompletion=_complete_rule),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="RULES", help=f"Leave this advice out. {_RULES}", autocompletion=_complete_rule),
    ] = None,
    fail_on: Annotated[
        FailOn | None, typer.Option(help="The mildest finding that makes the exit code 1; by default a warning.")
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Apply safe fixes to the files named, and report the rest.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show what --fix would change, and write nothing.")] = False,
    statistics: Annotated[bool, typer.Option("--statistics", help="Count the findings of each rule.")] = False,
    format: Annotated[FindingsFormat, typer.Option("--format", help="How findings are written.")] = FindingsFormat.TEXT,
    sets: Sets = None,
    preset_path: PresetPath = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    color: ColorOption = Color.AUTO,
) -> None:
    """Find errors in configurations, and give advice about what is valid and unlikely to be meant.

    The table `tool.ava-loss` of the nearest pyproject.toml sets defaults; `# ava: ignore[RULE]` suppresses
    advice on its line.

    Exit code 1 where there is a finding at or above --fail-on, or --diff shows a change; 2 where a path cannot be read.
    """
    from ava.cli.formats import announce, write_findings
    from ava.cli.linting import Linting
    from ava.cli.output import Output, say
    from ava.cli.render.findings import SEVERITIES
    from ava.errors import SourceError

    if fix and diff:
        raise SourceError("--fix and --diff: give one of them")
    if fix and "-" in paths:
        raise SourceError("--fix cannot write to standard input; use --diff, or name a file")
    linting = Linting(select, ignore, sets, preset_path)
    out = Output(output, color)
    mended = linting.mend(paths) if fix or diff else []
    for item in mended if fix else ():
        item.write()
    checked = linting.lint(paths)
    threshold = fail_on.value if fail_on else linting.fail_on
    if diff:
        out.write("".join(item.diff() for item in mended))
    elif statistics:
        from ava.cli.render.statistics import statistics_of

        out.write(statistics_of(checked.findings, format, out))
    else:
        report = write_findings(
            format,
            checked.findings,
            texts=checked.texts,
            count=checked.count,
            colored=out.colored,
            quiet=quiet,
            noun="finding",
            fail_on=threshold,
            failures=checked.failures,
        )
        out.write(report)
    if format is FindingsFormat.TEXT and not diff:
        announce(checked.findings, checked.texts)
    if not quiet:
        for item in mended:
            say(f"{'Would fix' if diff else 'Fixed'} {item.count} in {item.path}")
    for failure in checked.failures:
        say(f"error: {failure}")
    failing = SEVERITIES[: SEVERITIES.index(threshold) + 1]
    failed = bool(diff and mended) or any(finding.severity in failing for finding in checked.findings)
    if diff and failed and not mended and not quiet:
        say("No safe fix; without --diff the findings are shown")
    raise typer.Exit(2 if checked.failures else 1 if failed else 0)
