"""The command line: one field is one option."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

DEFAULT_STEPS = 500


def about(text: str, kind: Any = str, *, recipe: bool = True) -> dict[str, Any]:
    """An option's help and type. `recipe`: it shapes the numbers, so a resumed run must have the same."""
    return {"text": text, "kind": kind, "recipe": recipe}


@dataclass(frozen=True, kw_only=True)
class Options:
    preset: str = field(default="standard", metadata=about("a preset's name, or the path of a loss file"))
    set: tuple[str, ...] = field(default=(), metadata=about("override a value, as terms.z_loss.weight=0.2; repeatable"))
    steps: int | None = field(default=None, metadata=about(f"{DEFAULT_STEPS}, or no limit with --minutes", int))
    minutes: float | None = field(
        default=None, metadata=about("time budget; the schedule then follows the clock", float)
    )
    batch_size: int = field(default=8, metadata=about("rows in a micro-batch", int))
    seq_len: int = field(default=128, metadata=about("tokens in a row", int))
    grad_accum: int = field(default=1, metadata=about("micro-batches in a step", int))
    layers: int = field(default=4, metadata=about("blocks of the model", int))
    width: int = field(default=128, metadata=about("width of the model, a multiple of 32", int))
    experts: int | None = field(default=None, metadata=about("experts a layer; by default as the loss wants", int))
    lr: float = field(default=3e-3, metadata=about("peak learning rate", float))
    warmup: int = field(default=20, metadata=about("steps of linear warm-up", int))
    seed: int = field(default=0, metadata=about("of the initial weights and the order of the data", int))
    device: str = field(default="cpu", metadata=about("cpu, cuda, cuda:1, mps …"))
    compile_model: bool = field(
        default=False, metadata=about("compile the model too; the loss decides for itself", bool)
    )

    checkpoint: Path | None = field(default=None, metadata=about("where the run is kept", Path, recipe=False))
    resume: bool = field(default=False, metadata=about("go on from --checkpoint if it is there", bool, recipe=False))
    stop_at: int | None = field(
        default=None, metadata=about("stop after this step, as Ctrl-C would", int, recipe=False)
    )
    log: Path | None = field(default=None, metadata=about("JSON-lines file, one object a step", Path, recipe=False))
    log_every: int = field(default=10, metadata=about("steps between fetches from the device", int, recipe=False))
    eval_every: int = field(default=100, metadata=about("steps between held-out evaluations", int, recipe=False))
    eval_batches: int = field(default=16, metadata=about("batches in the held-out set", int, recipe=False))
    sample: int = field(default=96, metadata=about("bytes of greedy text for each prompt", int, recipe=False))

    def __post_init__(self) -> None:
        """Refuses what cannot be with a `ValueError` that names the option."""
        for option in fields(self):
            value = getattr(self, option.name)
            if (
                option.metadata["kind"] in (int, float)
                and option.name != "seed"
                and value is not None
                and not value > 0
            ):
                raise ValueError(f"--{option.name.replace('_', '-')} must be above 0; got {value}")
        if self.resume and self.checkpoint is None:
            raise ValueError("--resume needs --checkpoint FILE to go on from")
        if self.checkpoint and self.checkpoint.exists() and not self.resume:
            raise ValueError(f"{self.checkpoint} holds a run already: go on with --resume, or name another file")

    @property
    def last_step(self) -> float:
        return self.steps or (math.inf if self.minutes else DEFAULT_STEPS)

    def recipe(self) -> dict[str, Any]:
        return {option.name: getattr(self, option.name) for option in fields(self) if option.metadata["recipe"]}


def parse(arguments: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(
        description="Train a small language model on the Python standard library with a loss preset, "
        "and see what every term of the loss does."
    )
    for option in fields(Options):
        flag, kind, text = (f"--{option.name.replace('_', '-')}", option.metadata["kind"], option.metadata["text"])
        if kind is bool:
            parser.add_argument(flag, action="store_true", help=text)
        elif option.default == ():
            parser.add_argument(flag, action="append", default=[], metavar="KEY=VALUE", help=text)
        else:
            shown = text if option.default is None else f"{text} ({option.default})"
            parser.add_argument(flag, type=kind, default=option.default, metavar=kind.__name__.upper(), help=shown)
    given = vars(parser.parse_args(arguments))
    try:
        return Options(**given | {"set": tuple(given["set"])})
    except ValueError as problem:
        parser.error(str(problem))
