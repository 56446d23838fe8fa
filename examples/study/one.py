"""Trains one model of the study and measures it; `run.py` starts this in a process of its own.

    python examples/study/one.py standard --seed 0 --scale small --into standard-0.json

Prints how far it is, `done total` a line. The answer is written at the end and at once, so a killed run leaves nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from small_lm.data import PackedText, load_corpus
from small_lm.evaluation import readable
from small_lm.options import Options
from train_small_lm import Trainer

from study import measure
from study.recipes import RECIPES, SCALES, Recipe, Sizes, identity


def options(recipe: Recipe, seed: int, sizes: Sizes, device: str, *, compiled: bool = False) -> Options:
    """As `train_small_lm.py` would have them. On a CPU a loss this small is not worth compiling for each process."""
    return Options(
        preset=recipe.preset,
        set=(*recipe.set, *(() if compiled or device != "cpu" else ("compile.enabled=false",))),
        steps=sizes.steps,
        batch_size=sizes.batch_size,
        seq_len=sizes.seq_len,
        layers=sizes.layers,
        width=sizes.width,
        experts=recipe.experts,
        lr=sizes.lr,
        warmup=sizes.warmup,
        seed=seed,
        device=device,
    )


def corpus(sizes: Sizes, device: str) -> tuple[PackedText, PackedText]:
    training, unseen = (text.to(torch.device(device)) for text in load_corpus(sizes.files))
    return training, unseen


def train(recipe: Recipe, seed: int, sizes: Sizes, device: str) -> dict[str, Any]:
    training, unseen = corpus(sizes, device)
    trainer = Trainer(options(recipe, seed, sizes, device), training)
    few = unseen.spread(sizes.batch_size, sizes.point_batches, sizes.seq_len)
    curve, temperatures = [], [[0, temperature(trainer)]]
    every, begun = max(1, sizes.steps // sizes.points), time.perf_counter()
    while trainer.steps_done < sizes.steps:
        trainer.step()
        if trainer.steps_done % every == 0:
            scores = measure.held_out(trainer.model, few, temperature(trainer), best=False)
            experts = {name: scores["experts"][name] for name in ("cv", "dead")} if "experts" in scores else {}
            nats = {name: scores[name] for name in ("nats", "nats_at_temperature")}
            curve.append({"step": trainer.steps_done, **nats, **experts})
        if trainer.steps_done % 10 == 0 or trainer.steps_done == sizes.steps:
            temperatures.append([trainer.steps_done, temperature(trainer)])
            print(trainer.steps_done, sizes.steps, flush=True)
    seconds = time.perf_counter() - begun

    many = unseen.spread(sizes.batch_size, sizes.held_out_batches, sizes.seq_len)
    given, _ = measure.prompts(unseen, sizes)
    example = measure.continued(trainer.model, given[:1], sizes.continuation)
    return {
        "identity": identity(recipe, seed, sizes, device, [training.fingerprint(), unseen.fingerprint()]),
        "weights": sum(weight.numel() for weight in trainer.model.parameters()),
        "held_out": measure.held_out(trainer.model, many, temperature(trainer)),
        "penalties": measure.penalties(trainer.model, few),
        "texts": measure.texts(trainer.model, given, sizes.continuation, temperature(trainer)),
        "example": readable(example[0]),
        "curve": curve,
        "temperatures": temperatures,
        "seconds": seconds,
    }


def temperature(trainer: Trainer) -> float:
    return trainer.loss_fn.metrics()["temperature"].item()


def write(answer: Any, path: Path) -> None:
    """All or nothing. `ValueError` for a number that is not finite: a model that diverged has no result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(json.dumps(tidy(answer), ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    unfinished.replace(path)


def tidy(value: Any) -> Any:
    """Numbers with six digits, at any depth."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: tidy(part) for name, part in value.items()}
    return [tidy(part) for part in value] if isinstance(value, (list, tuple)) else value


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every process of the study shares."""
    made = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    made.add_argument("--scale", choices=list(SCALES), default="small")
    made.add_argument("--steps", type=int, help="in place of the scale's")
    made.add_argument("--device", default="cpu")
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--into", type=Path, required=True, help="the JSON file to write")
    return made


def sizes_of(given: argparse.Namespace) -> Sizes:
    sizes = SCALES[given.scale]
    return replace(sizes, steps=given.steps) if given.steps else sizes


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser(__doc__)
    made.add_argument("recipe", choices=list(RECIPES))
    made.add_argument("--seed", type=int, default=0)
    given = made.parse_args(arguments)
    torch.set_num_threads(given.threads)
    warnings.filterwarnings("ignore", message=".*expert_diversity_loss.*")  # the model does not show expert outputs
    write(train(RECIPES[given.recipe], given.seed, sizes_of(given), given.device), given.into)
    return 0


if __name__ == "__main__":
    sys.exit(main())
