"""``ava-loss dry-run``: build the loss, run it on synthetic tensors, and see what it does and costs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ava.cli.options import Color, ColorOption, OutputOption, PresetPath, QuietOption, Reference, Sets

if TYPE_CHECKING:
    from ava.cli.output import Output
    from ava.run.dry_run.ready import Request
    from ava.run.dry_run.report import Measured

__all__ = ["register"]


class Format(StrEnum):
    """How the figures are written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


class Scenario(StrEnum):
    """What the tensors look like."""

    RANDOM = "random"
    TRAINED = "trained"
    REPETITIVE = "repetitive"
    COLLAPSED = "collapsed"
    PACKED = "packed"
    PADDED = "padded"
    BALANCED = "balanced"
    SKEWED = "skewed"


class Engine(StrEnum):
    """Where the statistics come from."""

    LOGITS = "logits"
    LINEAR = "linear"


_ENGINES: dict[Engine, Literal["logits", "linear"]] = {Engine.LOGITS: "logits", Engine.LINEAR: "linear"}


class Dtype(StrEnum):
    """Dtype of the tensors."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT64 = "float64"


class Severity(StrEnum):
    """From which severity on a finding fails."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("dry-run")(dry_run)


def dry_run(
    context: typer.Context,
    reference: Reference,
    scenario: Annotated[Scenario, typer.Option("--scenario", help="State of the model, or layout of the batch.")] = (
        Scenario.RANDOM
    ),
    batch: Annotated[int, typer.Option("--batch", min=1, help="Rows.")] = 4,
    seq_len: Annotated[int, typer.Option("--seq-len", min=1, help="Positions of a row.")] = 128,
    vocab_size: Annotated[
        int | None, typer.Option("--vocab-size", min=2, help="By default the configuration's, else 1024.")
    ] = None,
    dtype: Annotated[
        Dtype | None, typer.Option("--dtype", help="Dtype of the tensors; float32, or that of the captured ones.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="`cpu`, `cuda`, `cuda:1`, ….")] = "cpu",
    engine: Annotated[
        Engine | None, typer.Option("--engine", help="Where the statistics come from: logits, or what is captured.")
    ] = None,
    input: Annotated[
        Path | None,
        typer.Option("--input", metavar="FILE", help="Tensors of a real call, as `loss.capture(FILE)` writes them."),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Training steps to time.")] = 10,
    at_step: Annotated[
        int | None, typer.Option("--at-step", min=0, help="Step whose weights count; by default, after all schedules.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of the tensors.")] = 0,
    compile: Annotated[bool, typer.Option("--compile/--no-compile", help="Whether to compile.")] = True,
    fail_on: Annotated[
        Severity, typer.Option("--fail-on", help="Exit with 1 at a finding this bad or worse.")
    ] = Severity.ERROR,
    format: Annotated[Format, typer.Option("--format", help="How the figures are written.")] = Format.TEXT,
    sets: Sets = None,
    preset_path: PresetPath = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    color: ColorOption = Color.AUTO,
) -> None:
    """Compile a loss, run it forward and backward on synthetic or captured tensors, and measure each term.

    Needs torch: pip install 'ava-loss[torch]'.
    """
    from ava.cli.output import Output, say
    from ava.cli.progress import need_torch, stages
    from ava.cli.sources import load_config

    config = load_config(reference, sets, preset_path)
    need_torch("dry-run")
    asked: dict[str, Any] = {
        "vocab_size": vocab_size,
        "device": device,
        "compiled": compile,
        "steps": steps,
        "seed": seed,
        "step": at_step,
    }
    drawn = {"scenario": scenario.value, "batch": batch, "length": seq_len}
    with stages(quiet, color) as tell:
        from ava.run.capture import CaptureError
        from ava.run.dry_run.measure import dry_run

        try:
            request = _request(input, engine, dtype, asked, drawn)
            measured = dry_run(config, request, tell)
        except CaptureError as error:
            wrong: str | None = str(error)
        else:
            wrong = None
    if wrong is not None:
        say(f"error: {wrong}")
        raise typer.Exit(1)
    ignored = [f"--{name}" for name in _DRAWN if input is not None and _given(context, name.replace("-", "_"))]
    if ignored and not quiet:
        say(f"note: without effect beside --input: {', '.join(ignored)}")
    if not quiet and (format is Format.JSON or output is not None):
        for note in measured.notes:
            say(f"note: {note}")
    _write(Output(output, color), format, measured, request)
    order = [item.value for item in Severity]
    failing = order[: order.index(fail_on.value) + 1]
    raise typer.Exit(1 if any(finding.severity in failing for finding in measured.findings) else 0)


_DRAWN = ("scenario", "batch", "seq-len", "seed")
"""Options of drawn tensors."""


def _given(context: typer.Context, option: str) -> bool:
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def _request(
    file: Path | None, engine: Engine | None, dtype: Dtype | None, asked: dict[str, Any], drawn: dict[str, Any]
) -> Request:
    """Return what to run; the tensors of a file bring their own shape."""
    from ava.run.dry_run.ready import Request, request_of

    on = None if engine is None else _ENGINES[engine]
    kind = None if dtype is None else dtype.value
    if file is not None:
        from ava.run.capture import read_capture

        return request_of(read_capture(file), on, kind, **asked)
    from ava.run.dry_run.scenarios import Scenario as Drawn

    return Request(
        **{**drawn, "scenario": Drawn(drawn["scenario"])}, engine=on or "logits", dtype=kind or "float32", **asked
    )


def _write(out: Output, format: Format, measured: Measured, request: Request) -> None:
    if format is Format.JSON:
        from ava.cli.formats.data import finding_dict
        from ava.cli.output import dumps

        out.write(dumps({**measured.to_dict(), "findings": [finding_dict(item) for item in measured.findings]}))
    elif format is Format.MARKDOWN:
        from ava.cli.render.dry_run import measured_markdown

        out.write(measured_markdown(measured, request))
    else:
        from ava.cli.render.dry_run import draw_measured

        out.draw(*draw_measured(measured, request))
