"""Times a training step under each loss: in one process, in turns A B C A B C, medians.

    python examples/study/timing.py --scale small --threads 2 --into timing.json

Alone on the machine, unlike the runs. The model is the same in each turn, so what differs between the dense ones, and
between those with experts, is the loss. On a CPU once with the losses uncompiled, as the runs have them, and once
compiled, as they are by default.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from small_lm.data import PackedText
from train_small_lm import Trainer

import ava
from study.one import corpus, options, parser, sizes_of, write
from study.recipes import RECIPES, Recipe, Sizes

TIMED = [recipe for recipe in RECIPES.values() if recipe.group != "ablation"]


def medians(
    recipes: Sequence[Recipe], sizes: Sizes, text: PackedText, given: Any, *, compiled: bool
) -> dict[str, float]:
    """Seconds a step; the first two of each are not counted."""
    trainers, seconds = {}, {recipe.name: [] for recipe in recipes}
    for number, recipe in enumerate(recipes):
        trainers[recipe.name] = trainer = Trainer(options(recipe, 0, sizes, given.device, compiled=compiled), text)
        trainer.step()
        trainer.step()
        print(number + 1, len(recipes) + given.rounds, flush=True)
    for done in range(given.rounds):
        for name, trainer in trainers.items():
            wait(given.device)
            begun = time.perf_counter()
            trainer.step()
            wait(given.device)
            seconds[name].append(time.perf_counter() - begun)
        print(len(recipes) + done + 1, len(recipes) + given.rounds, flush=True)
    return {name: statistics.median(times) for name, times in seconds.items()}


def wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=25)
    made.add_argument("--uncompiled", action="store_true", help="leave out the compiled losses")
    given = made.parse_args(arguments)
    torch.set_num_threads(given.threads)
    warnings.filterwarnings("ignore", message=".*expert_diversity_loss.*")
    sizes = sizes_of(given)
    text = corpus(sizes, given.device)[0]
    same = {"sizes": asdict(sizes), "device": given.device.partition(":")[0], "ava": ava.__version__}
    found: dict[str, Any] = {"identity": same, "threads": given.threads, "rounds": given.rounds}
    found["uncompiled"] = medians(TIMED, sizes, text, given, compiled=False)
    if not given.uncompiled:
        found["compiled"] = medians(TIMED, sizes, text, given, compiled=True)
    write(found, given.into)
    return 0


if __name__ == "__main__":
    sys.exit(main())
