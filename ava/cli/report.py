"""``ava-loss report``: one HTML file, of a configuration and its dry run, of a saved dry run, or of training logs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ava.cli.dry_run import Dtype, Engine, Scenario, Severity
from ava.cli.options import Color, ColorOption, OutputOption, PresetPath, QuietOption, Sets, complete_preset

if TYPE_CHECKING:
    from ava.config import Config
    from ava.errors import Finding
    from ava.report.figures import Found
    from ava.report.kinds import Kind
    from ava.report.measured import DryRun

__all__ = ["register"]


@dataclass(frozen=True)
class Sizes:
    """What a dry run draws: the options of ``dry-run`` that a report takes too."""

    scenario: Scenario
    batch: int
    length: int
    vocab_size: int | None
    dtype: Dtype
    device: str
    engine: Engine
    steps: int
    at_step: int | None
    seed: int
    compiled: bool


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="PRESET|RUN",
            help="A preset's name or file, what `dry-run --format json` wrote, both, or one or several training logs.",
            autocompletion=complete_preset,
        ),
    ],
    run: Annotated[
        bool, typer.Option("--run/--no-run", help="Whether to run the preset dry, which needs torch.")
    ] = True,
    title: Annotated[str | None, typer.Option("--title", help="Heading of the page.")] = None,
    scenario: Annotated[Scenario, typer.Option("--scenario", help="State of the model, or layout of the batch.")] = (
        Scenario.RANDOM
    ),
    batch: Annotated[int, typer.Option("--batch", min=1, help="Rows.")] = 4,
    seq_len: Annotated[int, typer.Option("--seq-len", min=1, help="Positions of a row.")] = 128,
    vocab_size: Annotated[
        int | None, typer.Option("--vocab-size", min=2, help="By default the configuration's, else 1024.")
    ] = None,
    dtype: Annotated[Dtype, typer.Option("--dtype", help="Dtype of the tensors.")] = Dtype.FLOAT32,
    device: Annotated[str, typer.Option("--device", help="`cpu`, `cuda`, `cuda:1`, ….")] = "cpu",
    engine: Annotated[Engine, typer.Option("--engine", help="Where the statistics come from.")] = Engine.LOGITS,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Training steps to time.")] = 10,
    at_step: Annotated[
        int | None, typer.Option("--at-step", min=0, help="Step whose weights count; by default, after all schedules.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of the tensors.")] = 0,
    compile: Annotated[bool, typer.Option("--compile/--no-compile", help="Whether to compile.")] = True,
    fail_on: Annotated[
        Severity, typer.Option("--fail-on", help="Exit with 1 at a finding this bad or worse.")
    ] = Severity.ERROR,
    sets: Sets = None,
    preset_path: PresetPath = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    color: ColorOption = Color.AUTO,
) -> None:
    """Write one self-contained HTML page: a preset's plan and dry run, or training logs over the steps.

    Works offline, in light and dark, and on paper. `--no-run` leaves out what is measured, and needs no torch. A
    saved dry run beside a preset takes the place of running it.

    Without --output, a page is not printed to a terminal but written to a new file, as `run.html` for `run.jsonl`.
    """
    from ava.cli.output import Output, create_file, say
    from ava.report.kinds import Kind, kind_of

    out = Output(output, Color.NEVER)
    new_file = _new_file(sources) if output is None and sys.stdout.isatty() else None
    kinds = [kind_of(source) for source in sources]
    found: Sequence[Found]
    if set(kinds) == {Kind.LOG}:
        page, found = _of_logs(sources, title)
    else:
        reference, saved = _pair(sources, kinds)
        shape = Sizes(
            scenario, batch, seq_len, vocab_size, dtype, device, engine, steps, at_step, seed, compile
        )  # fmt: skip
        page, found = _of_preset(reference, saved, shape if run else None, title, sets, preset_path, (quiet, color))
    if new_file is None:
        out.write(page)
    else:
        create_file(new_file, page)
        say(f"written to {new_file}")
    if not quiet and set(kinds) == {Kind.LOG}:
        _say(found)
    order = [item.value for item in Severity]
    failing = order[: order.index(fail_on.value) + 1]
    raise typer.Exit(1 if any(finding.severity in failing for finding in found) else 0)


def _new_file(sources: Sequence[str]) -> Path:
    """Return the file for a page that nobody says where to write: named after its one source, in this folder.

    Raises:
        SourceError: there is such a file already.
    """
    from ava.errors import SourceError

    name = Path(sources[0]).stem if len(sources) == 1 else ""
    path = Path(f"{name.strip('-') or 'report'}.html")
    if path.exists():
        raise SourceError(f"{path}: there is a file of that name already; `--output {path}` replaces it")
    return path


def _pair(sources: Sequence[str], kinds: Sequence[Kind]) -> tuple[str | None, str | None]:
    """Return the configuration and the saved dry run among the sources, of which there may be one each."""
    from ava.errors import ArgumentValueError
    from ava.report.kinds import Kind

    configs = [source for source, kind in zip(sources, kinds, strict=True) if kind is Kind.CONFIG]
    saved = [source for source, kind in zip(sources, kinds, strict=True) if kind is Kind.DRY_RUN]
    if Kind.LOG in kinds or len(configs) > 1 or len(saved) > 1:
        given = ", ".join(f"`{source}` is {kind}" for source, kind in zip(sources, kinds, strict=True))
        raise ArgumentValueError(
            "a report is of one preset, of one saved dry run, of both together, or of training logs only; here " + given
        )
    return next(iter(configs), None), next(iter(saved), None)


def _of_logs(paths: Sequence[str], title: str | None) -> tuple[str, Sequence[Finding]]:
    from ava.report.log import log_page, read_run

    names = [Path(path).name for path in paths]
    shown = [name if names.count(name) == 1 else path for name, path in zip(names, paths, strict=True)]
    runs = [read_run(path, name) for path, name in zip(paths, shown, strict=True)]
    return log_page(runs, title), [finding for run in runs for finding in run.findings]


def _of_preset(
    reference: str | None,
    saved: str | None,
    shape: Sizes | None,
    title: str | None,
    sets: Sequence[str] | None,
    preset_path: Sequence[Path] | None,
    manner: tuple[bool, Color],
) -> tuple[str, Sequence[Found]]:
    from ava.cli.sources import load_config
    from ava.report.measured import read_dry_run
    from ava.report.preset import dry_run_page, preset_page

    run = read_dry_run(Path(saved)) if saved is not None else None
    if reference is None:
        assert run is not None
        return dry_run_page(run, title=title), run.findings
    from ava.plan.explain import explain
    from ava.plan.explain_engines import Shape

    config = load_config(reference, sets, preset_path)
    if run is None and shape is not None:
        run = _measure(config, shape, *manner)
    call = Shape(4, 128, "float32") if shape is None else Shape(shape.batch, shape.length, shape.dtype.value)
    return preset_page(explain(config, call), run, title=title), run.findings if run is not None else ()


def _measure(config: Config, shape: Sizes, quiet: bool, color: Color) -> DryRun:
    """Run the configuration dry; this, and nothing else of a report, imports torch."""
    from ava.cli.formats.data import finding_dict
    from ava.cli.progress import need_torch, stages
    from ava.report.measured import parse_dry_run

    need_torch("a report with a dry run (without: --no-run)")
    with stages(quiet, color) as tell:
        from ava.run.dry_run.measure import Request, dry_run
        from ava.run.dry_run.scenarios import Scenario as Drawn

        request = Request(
            scenario=Drawn(shape.scenario.value),
            batch=shape.batch,
            length=shape.length,
            vocab_size=shape.vocab_size,
            dtype=shape.dtype.value,
            device=shape.device,
            compiled=shape.compiled,
            steps=shape.steps,
            seed=shape.seed,
            step=shape.at_step,
            engine="linear" if shape.engine is Engine.LINEAR else "logits",
        )
        measured = dry_run(config, request, tell)
    drawn = (
        f"scenario {request.scenario}: {request.batch} × {request.length} positions, {request.dtype}, {request.device}"
    )
    data = {
        **measured.to_dict(),
        "findings": [finding_dict(finding) for finding in measured.findings],
        "notes": [drawn, *measured.notes, *measured.break_reasons, *measured.causes],
    }
    return parse_dry_run(data, measured.preset)


def _say(found: Sequence[Found]) -> None:
    from ava.cli.output import say

    for finding in found:
        place = f"{finding.span.file}:{finding.span.line}:{finding.span.column}"
        say(f"{place}: {finding.severity} {finding.code} {finding.name}: {finding.message}")
