"""``ava-loss diff``: what changed between two configurations, how much it matters, and what follows."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ava.cli.options import Color, ColorOption, OutputOption, PresetPath, QuietOption, complete_preset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ava.cli.compare import Comparison, Uncomparable
    from ava.cli.sides import Sides
    from ava.run.compare import Numeric

__all__ = ["register"]


class Format(StrEnum):
    """How changes are written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    GITHUB = "github"


class Class(StrEnum):
    """How much a change matters, worst first."""

    BREAKING = "breaking"
    OBJECTIVE = "objective"
    NUMERICS = "numerics"
    REPORTING = "reporting"
    COSMETIC = "cosmetic"


class Scenario(StrEnum):
    """What the tensors of --numeric look like."""

    RANDOM = "random"
    TRAINED = "trained"
    REPETITIVE = "repetitive"
    COLLAPSED = "collapsed"
    PACKED = "packed"
    PADDED = "padded"
    BALANCED = "balanced"
    SKEWED = "skewed"


class Dtype(StrEnum):
    """Dtype of the tensors of --numeric."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT64 = "float64"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(diff)


def diff(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="A B",
            help="Two presets, files, folders or `REV:path`; with --against, any number of files and folders.",
            autocompletion=complete_preset,
        ),
    ],
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="REV", help="Compare each path with what it was at this git revision."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="VERSION", help="Read A with the defaults of this release of ava-loss."),
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 on any change that is not cosmetic.")
    ] = False,
    fail_on: Annotated[
        Class | None, typer.Option("--fail-on", help="Exit with 1 on a change of this class or a worse one.")
    ] = None,
    numeric: Annotated[
        bool, typer.Option("--numeric", help="Run both on the same synthetic tensors, and show the difference.")
    ] = False,
    scenario: Annotated[Scenario, typer.Option("--scenario", help="With --numeric: state of the model.")] = (
        Scenario.RANDOM
    ),
    batch: Annotated[int, typer.Option("--batch", min=1, help="With --numeric: rows.")] = 4,
    seq_len: Annotated[int, typer.Option("--seq-len", min=1, help="With --numeric: positions of a row.")] = 128,
    vocab_size: Annotated[
        int | None,
        typer.Option("--vocab-size", min=2, help="With --numeric: by default the configurations', else 1024."),
    ] = None,
    dtype: Annotated[Dtype, typer.Option("--dtype", help="With --numeric: dtype of the tensors.")] = Dtype.FLOAT32,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="With --numeric: seed of the tensors.")] = 0,
    format: Annotated[Format, typer.Option("--format", help="How changes are written.")] = Format.TEXT,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set a value in B, as in `terms.z_loss.weight=0.1`. Repeatable.",
        ),
    ] = None,
    preset_path: PresetPath = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    color: ColorOption = Color.AUTO,
) -> None:
    """Compare two resolved configurations: each change with its class, its size and its consequence.

    Classes, worst first: breaking, objective, numerics, reporting, cosmetic. What a parent changes counts.

    `REV:path` is a file or folder at a git revision, from the repository's root (`REV:./path` from here).

    A file that `ava-loss explain --format json` wrote, with this version or another, is a side too.

    With one path and --set or --since, A and B are that file without and with them.

    Exit code 0 unless --exit-code or --fail-on say otherwise, 2 where a comparison cannot be made.
    """
    from ava.cli.compare import Comparison, Uncomparable, compare
    from ava.cli.output import Output, say

    sides = _sides(paths, against, sets, preset_path, alone=since is not None)
    if numeric:
        from ava.cli.progress import need_torch

        need_torch("--numeric")
        if len(sides) > 1:
            from ava.errors import ArgumentValueError

            raise ArgumentValueError("--numeric compares two files, not folders")
    if since is not None:
        from ava.plan.diff.released import recorded

        recorded(since)  # a release that is not known is wrong for all of them
    results = [compare(pair, since) for pair in sides]
    compared = [item for item in results if isinstance(item, Comparison)]
    failed = [item for item in results if isinstance(item, Uncomparable)]
    for item in failed:
        say(f"error: {item.title}: cannot be compared: {item.reason}")
    measured = None
    if numeric and compared:
        measured = _numeric(compared[0], scenario, batch, seq_len, vocab_size, dtype, seed)
        for note in measured.notes if not quiet else ():
            say(f"note: {note}")
    if compared or format is Format.MARKDOWN:
        _write(Output(output, color), format, compared, failed, measured, quiet)
    changes = [change for item in compared for change in item.changes]
    limit = fail_on.value if fail_on is not None else None
    order = [item.value for item in Class]
    failing = any(
        (exit_code and change.class_ != "cosmetic") or (limit is not None and change.rank <= order.index(limit))
        for change in changes
    )
    raise typer.Exit(2 if failed else 1 if failing else 0)


def _sides(
    paths: Sequence[str], against: str | None, sets: Sequence[str] | None, preset_path: Any, *, alone: bool
) -> list[Sides]:
    from ava.cli.sides import against as against_revision
    from ava.cli.sides import between
    from ava.errors import ArgumentValueError
    from ava.load.overrides import parse_overrides

    parse_overrides(sets or ())  # what cannot be read is said before anything is compared
    if against is not None:
        return against_revision(against, paths, sets, preset_path)
    if len(paths) == 1 and (sets or alone):
        return between(paths[0], paths[0], sets, preset_path)
    if len(paths) != 2:
        raise ArgumentValueError(
            f"diff takes two configurations, and got {len(paths)}; with `--against REV` it takes any number of paths"
        )
    return between(paths[0], paths[1], sets, preset_path)


def _numeric(
    pair: Comparison, scenario: Scenario, batch: int, length: int, vocab_size: int | None, dtype: Dtype, seed: int
) -> Numeric:
    from ava.errors import ArgumentValueError

    before, after = pair.configs
    if before is None or after is None:
        raise ArgumentValueError(
            f"--numeric: {pair.title}: one of the two cannot be run: {pair.changes[0].consequence}"
        )
    from ava.run.compare import compare
    from ava.run.dry_run.scenarios import Scenario as Drawn

    return compare(
        before,
        after,
        scenario=Drawn(scenario.value),
        batch=batch,
        length=length,
        vocab_size=vocab_size,
        dtype=dtype.value,
        seed=seed,
    )


def _write(
    out: Any,
    format: Format,
    compared: Sequence[Comparison],
    failed: Sequence[Uncomparable],
    measured: Numeric | None,
    quiet: bool,
) -> None:
    if format is Format.JSON:
        from ava.cli.output import dumps

        found = [change.to_dict() for item in compared for change in item.changes]
        once = [change for index, change in enumerate(found) if change not in found[:index]]
        if failed and not once:
            return  # an empty list would read as "no change"
        out.write(dumps(once if measured is None else {"changes": once, "numeric": measured.to_dict()}))
    elif format is Format.MARKDOWN:
        from ava.cli.render.diff_markdown import diff_markdown

        out.write(diff_markdown(compared, failed, measured))
    elif format is Format.GITHUB:
        from ava.cli.render.diff_github import diff_github

        out.write(diff_github(compared, failed))
    else:
        from ava.cli.render.diff import draw_diff

        out.draw(*draw_diff(compared, failed, measured, quiet=quiet))
