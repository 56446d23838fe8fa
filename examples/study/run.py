"""The study, from nothing to `results.json`: every recipe with every seed, several at once, each in its own process.

    python examples/study/run.py                       # 14 recipes × 3 seeds; under an hour on two cores
    python examples/study/run.py --only plain --only standard --seeds 5
    python examples/study/run.py --scale large --device cuda
    python examples/study/page.py --results runs/study/results.json     # then the page

A finished run is a file. The same command goes on where it was stopped: runs that are there, and were made with the
same loss, model, text and budget, are not run again.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from rich.console import Console
from small_lm.data import END

import ava
from study import measure, metrics
from study.jobs import Board, Job, run
from study.one import corpus, sizes_of, write
from study.recipes import RECIPES, SCALES, Sizes, identity

HERE = Path(__file__).resolve().parent
QUICK = ("plain", "standard", "moe_loss_free")


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--only", action="append", choices=list(RECIPES), help="a recipe; repeatable (all)")
    made.add_argument("--seeds", type=int, default=3, help="runs of each recipe (3)")
    made.add_argument("--scale", choices=list(SCALES), default="small", help="sizes (small; large wants a GPU)")
    made.add_argument("--steps", type=int, help="in place of the scale's")
    made.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 …")
    made.add_argument("--jobs", type=int, help="runs at once (the cores; 1 on a GPU)")
    made.add_argument("--out", type=Path, default=Path("runs/study"), help="folder of what is kept (runs/study)")
    made.add_argument("--quick", action="store_true", help="one seed, three recipes, tiny: shows that it runs")
    given = made.parse_args(arguments)
    if given.quick:
        given.scale, given.seeds, given.only = "quick", 1, given.only or list(QUICK)
    cores = os.cpu_count() or 1
    given.jobs = given.jobs or (cores if given.device == "cpu" else 1)
    given.threads = max(1, cores // given.jobs)
    for name in ("seeds", "jobs", "steps"):
        if getattr(given, name) is not None and getattr(given, name) < 1:
            made.error(f"--{name} must be above 0; got {getattr(given, name)}")
    return given


def plan(given: argparse.Namespace, sizes: Sizes, text: list[int]) -> tuple[Job, list[Job]]:
    """The timing, which wants the machine for itself, and the runs: seed by seed, what explains others last."""
    shared = ["--scale", given.scale, "--device", given.device, "--steps", str(sizes.steps)]
    cores = str(given.threads * given.jobs)
    more = ["--rounds", "2", "--uncompiled"] if given.quick else []
    device = given.device.partition(":")[0]
    timing = Job(
        "timing",
        [str(HERE / "timing.py"), *shared, "--threads", cores, *more],
        given.out / "timing.json",
        {"sizes": asdict(sizes), "device": device, "ava": ava.__version__},
    )
    wanted = [RECIPES[name] for name in given.only or RECIPES]
    runs = [
        Job(
            f"{recipe.name}, seed {seed}",
            [str(HERE / "one.py"), recipe.name, "--seed", str(seed), *shared, "--threads", str(given.threads)],
            given.out / "runs" / f"{recipe.name}-{seed}.json",
            identity(recipe, seed, sizes, given.device, text),
        )
        for explains in (False, True)
        for seed in range(given.seeds)
        for recipe in wanted
        if (recipe.group == "ablation") is explains
    ]
    return timing, runs


def results(timing: Job, runs: Sequence[Job], real: dict[str, float], given: argparse.Namespace) -> dict[str, Any]:
    """Everything the page is made of, from the runs that are done."""
    done = [run.answer() for run in runs if run.done()]
    used = dict.fromkeys(answer["identity"]["recipe"] for answer in done)
    return {
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ava": ava.__version__,
        "device": given.device.partition(":")[0],
        "jobs": given.jobs,
        "threads": given.threads,
        "machine": platform.machine(),
        "sizes": asdict(sizes_of(given)),
        "recipes": {name: asdict(RECIPES[name]) | {"loss": loss(name)} for name in RECIPES if name in used},
        "real": real,
        "timing": timing.answer() if timing.done() else None,
        "runs": [
            {"recipe": answer["identity"]["recipe"], "seed": answer["identity"]["seed"]}
            | {name: value for name, value in answer.items() if name != "identity"}
            for answer in done
        ],
    }


def loss(name: str) -> dict[str, Any]:
    """The loss as it was: a preset may change after it was studied."""
    config = RECIPES[name].config()
    written: dict[str, Any] = config.model_dump(mode="json", exclude_defaults=True, exclude={"description"})
    return written


def study(given: argparse.Namespace, console: Console) -> list[Job]:
    """Runs what is not done yet, and writes the results. Answers what failed."""
    sizes = sizes_of(given)
    training, unseen = corpus(sizes, "cpu")
    real = metrics.describe(measure.prompts(unseen, sizes)[1].tolist(), END)
    lengths = torch.bincount(unseen.documents[1:])  # with the end
    real["premature_documents"] = (lengths <= metrics.MIN_LENGTH).float().mean().item()
    timing, runs = plan(given, sizes, [training.fingerprint(), unseen.fingerprint()])
    todo = [job for job in (timing, *runs) if not job.done()]
    done = len(runs) + 1 - len(todo)
    say(console, f"{done} of {len(runs) + 1} jobs are done; {given.jobs} at once, in {given.out}")

    with Board(console, len(todo)) as board, ThreadPoolExecutor(given.jobs) as pool:
        try:
            failed = [] if timing.done() or run(timing, board) else [timing]
            waiting = [(job, pool.submit(run, job, board)) for job in runs if job in todo]
            failed += [job for job, answer in waiting if not answer.result()]
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            board.stop()
            raise
    write(results(timing, runs, real, given) | {"failed": [job.name for job in failed]}, given.out / "results.json")
    say(console, f"results: {given.out / 'results.json'}")
    for job in failed:
        say(console, f"failed: {job.name}; see {job.log}")
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    given, console = options(arguments), Console()
    try:
        return int(bool(study(given, console)))
    except KeyboardInterrupt:
        say(console, "stopped; the same command goes on")
        return 130


def say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    sys.exit(main())
