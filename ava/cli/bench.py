"""``ava-loss bench``: what a loss costs beside cross-entropy, on this machine."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import typer

from ava.cli.options import Color, ColorOption, OutputOption, PresetPath, QuietOption, Reference, Sets

__all__ = ["register"]


class Format(StrEnum):
    """How the figures are written."""

    TEXT = "text"
    JSON = "json"


class Engine(StrEnum):
    """Where the statistics come from."""

    LOGITS = "logits"
    LINEAR = "linear"


class Dtype(StrEnum):
    """Dtype of the tensors."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT64 = "float64"


_ENGINES: dict[Engine, Literal["logits", "linear"]] = {Engine.LOGITS: "logits", Engine.LINEAR: "linear"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bench)


def bench(
    reference: Reference,
    rows: Annotated[int, typer.Option("--rows", min=1, help="Positions, of all rows of the batch together.")] = 512,
    vocab_size: Annotated[int, typer.Option("--vocab-size", min=2, help="Columns of the logits.")] = 32768,
    hidden_size: Annotated[
        int, typer.Option("--hidden-size", min=1, help="Width of the hidden states, where the configuration says none.")
    ] = 256,
    dtype: Annotated[Dtype, typer.Option("--dtype", help="Dtype of the tensors.")] = Dtype.FLOAT32,
    device: Annotated[str, typer.Option("--device", help="`cpu`, `cuda`, `cuda:1`, ….")] = "cpu",
    engine: Annotated[
        Engine, typer.Option("--engine", help="Time it from logits, or from hidden states and a head.")
    ] = Engine.LOGITS,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Timed rounds; medians are told.")] = 7,
    format: Annotated[Format, typer.Option("--format", help="How the figures are written.")] = Format.TEXT,
    sets: Sets = None,
    preset_path: PresetPath = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    color: ColorOption = Color.AUTO,
) -> None:
    """Time a loss, forward and backward, beside torch's cross-entropy on the same tensors, eager and compiled.

    Results are compared first: exit code 1, and no times, if they differ. The defaults take under a minute on a
    laptop. Needs torch: pip install 'ava-loss[torch]'.
    """
    from ava.cli.output import Output, dumps, say
    from ava.cli.progress import need_torch, stages
    from ava.cli.sources import load_config

    config = load_config(reference, sets, preset_path)
    need_torch("bench")
    with stages(quiet, color) as tell:
        from ava.run.bench import Setting
        from ava.run.bench import bench as measure

        setting = Setting(rows, vocab_size, hidden_size, dtype.value, device, _ENGINES[engine], rounds)
        result = measure(config, setting, tell)
    out = Output(output, color)
    if format is Format.JSON:
        if not quiet:
            for note in result.notes:
                say(f"note: {note}")
        out.write(dumps(result.to_dict()))
    else:
        from ava.cli.render.bench import draw_bench

        out.draw(*draw_bench(result))
    raise typer.Exit(0 if result.agree else 1)
