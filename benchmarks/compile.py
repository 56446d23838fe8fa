"""What compiling costs, and that it happens once: every preset, on both engines.

    python benchmarks/compile.py [--presets standard moe …] [--engines logits linear] [--device cpu]

Each preset and engine gets two processes of its own with the same, at first empty, folder for Inductor's caches. Both
time the first step (forward and backward) less a later one: the first process compiles (cold), the second finds the
kernels on disk (cached). The second then goes on, and the compiler's own counters say how many graphs were added:

- over 50 training steps in which all weights follow schedules, the temperature adapts where the preset has one, and
  ``num_items`` is another number in each step;
- over 10 shapes of batch and length.

Graph breaks are counted over all of that. Host synchronisations are counted in one step after it: on a CPU, what hands
a tensor's value to Python (``aten::_local_scalar_dense`` and its kin as torch's profiler sees them, those inside
operators included, and ``tolist``, ``numpy`` and ``cpu``); on a GPU, what ``torch.cuda.set_sync_debug_mode`` reports.
Three kinds are counted by themselves, since they happen on a CPU alone, where nobody waits: ``nonzero`` and ``numpy``,
with which rows that have a target or need a second look are found, and the compiler's own guards, which look at 0-d
tensors of the CPU.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ava.config import Config
from ava.load import list_presets
from ava.run.dry_run.fill import fill
from ava.run.dry_run.instruments import Counters
from ava.run.dry_run.scenarios import Scenario, draw
from ava.run.loss import Loss
from benchmarks.harness import Row, fresh, parser, report, synchronize

PRESETS = tuple(preset.name for preset in list_presets() if preset.origin == "shipped")
ENGINES = ("logits", "linear")
STEPS = 50
SHAPES = ((2, 40), (4, 24), (3, 33), (8, 17), (5, 64), (2, 128), (7, 19), (6, 48), (9, 21), (4, 96))
VALUES = ("aten::_local_scalar_dense", "aten::equal", "aten::nonzero")
LOOKUP = "TorchDynamo Cache Lookup"
METHODS = ("tolist", "numpy", "cpu")


def moving(preset: str) -> dict[str, Any]:
    """Return overrides with which every weight of a preset follows a schedule."""
    config = Config.load(preset)
    schedules = {
        f"terms.{term.name}.weight": {"from": 0.0, "to": 0.1, "steps": STEPS // 2, "shape": "cosine"}
        for term in config.enabled
    }
    adaptive = {"primary.temperature.adaptive": True} if config.primary.type == "deepseek" else {}
    return schedules | adaptive


def ready(preset: str, engine: Any, device: str) -> tuple[Loss, Callable[..., dict[str, Any]]]:
    """Return the loss, and what draws the arguments of a call of a shape."""
    config = fill(Config.load(preset, overrides=moving(preset)), vocab_size=50257, engine=engine).config
    loss = Loss(config).to(device)

    def arguments(batch: int, length: int) -> dict[str, Any]:
        return dict(draw(loss.plan, Scenario.RANDOM, batch=batch, length=length, device=device, engine=engine))

    return loss, arguments


def step(loss: Loss, arguments: dict[str, Any], **more: Any) -> float:
    """Return the seconds of forward and backward."""
    leaves = [tensor for tensor in arguments.values() if tensor.requires_grad]
    for leaf in leaves:
        leaf.grad = None
    synchronize(leaves)
    start = time.perf_counter()
    loss(**arguments, **more).backward()
    synchronize(leaves)
    return time.perf_counter() - start


@contextmanager
def watched() -> Iterator[Counter[str]]:
    """Count the methods that hand a tensor's values to Python; reading them is no operator that a profiler sees."""
    seen: Counter[str] = Counter()
    kept = {name: getattr(torch.Tensor, name) for name in METHODS}

    def counting(name: str) -> Callable[..., Any]:
        def call(self: torch.Tensor, *rest: Any, **more: Any) -> Any:
            seen[name] += 1
            return kept[name](self, *rest, **more)

        return call

    for name in METHODS:
        setattr(torch.Tensor, name, counting(name))
    try:
        yield seen
    finally:
        for name, method in kept.items():
            setattr(torch.Tensor, name, method)


def synchronisations(loss: Loss, arguments: dict[str, Any]) -> dict[str, int]:
    """Return what a step waited for, by name."""
    if arguments["targets"].device.type == "cuda":
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                loss(**arguments).backward()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return {"reported": sum("synchroniz" in str(warning.message) for warning in caught)}
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it reports its own start on standard error
    with watched() as seen, torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        loss(**arguments).backward()
    events: Counter[str] = Counter()
    for event in profile.events():
        if event.name in VALUES:
            events["guards" if within(event, LOOKUP) else event.name] += 1
    return {name: count for name, count in (events + seen).items() if count}


def within(event: Any, name: str) -> bool:
    """Return whether an event of the profiler happened inside one of that name."""
    while event is not None and event.name != name:
        event = event.cpu_parent
    return event is not None


def alone(preset: str, engine: str, device: str, only_time: bool) -> dict[str, Any]:
    """Return the figures of one preset; to be called in a process that compiled nothing yet."""
    loss, draw_shape = ready(preset, engine, device)
    arguments = draw_shape(4, 32)
    counted = Counters()
    first = step(loss, arguments, num_items=100)
    seconds = first - min(step(loss, arguments, num_items=100) for _ in range(3))
    found: dict[str, Any] = {"seconds": seconds, "graphs": counted.graphs()}
    if only_time:
        return found
    for index in range(STEPS):
        step(loss, arguments, num_items=100 + index)
    found["recompiles over steps"] = counted.graphs() - found["graphs"]
    for shape in SHAPES:
        step(loss, draw_shape(*shape), num_items=100)
    found["recompiles over shapes"] = counted.graphs() - found["graphs"] - found["recompiles over steps"]
    found["graph breaks"] = counted.breaks()
    step(loss, arguments)
    waited = synchronisations(loss, arguments)
    found |= {
        name: waited.pop(f"{kind}{name}", 0) for kind, name in (("aten::", "nonzero"), ("", "numpy"), ("", "guards"))
    }
    found["synchronisations"] = sum(waited.values())
    found["waited for"] = waited
    return found


def measure(preset: str, engine: str, device: str) -> dict[str, Any]:
    """Return the figures of one preset, from two processes."""
    command = [__file__, "--device", device, "--alone", preset, engine]
    with tempfile.TemporaryDirectory() as folder:
        places = {"TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor", "TRITON_CACHE_DIR": f"{folder}/triton"}
        cold = fresh([*command, "--only-time"], **places)
        found: dict[str, Any] = fresh(command, **places)
    return {**found, "cold seconds": cold["seconds"], "cached seconds": found.pop("seconds")}


def main() -> None:
    """Measure every preset, print and record."""
    made = parser(__doc__)
    made.add_argument("--presets", nargs="+", choices=PRESETS, default=PRESETS)
    made.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    made.add_argument("--device", default="cpu")
    made.add_argument("--alone", nargs=2, metavar=("PRESET", "ENGINE"), help="measure this one here, and print JSON")
    made.add_argument("--only-time", action="store_true", help="with --alone: stop after compiling")
    options = made.parse_args()
    torch.set_num_threads(options.threads)
    if options.alone:
        print(json.dumps(alone(*options.alone, options.device, options.only_time)))
        return
    if options.quick:
        options.presets, options.engines = ("fast_prototype",), ("logits",)
    taken = {}
    for preset in options.presets:
        for engine in options.engines:
            taken[f"{preset}, {engine}"] = measure(preset, engine, options.device)
            print(f"{preset}, {engine}: {taken[f'{preset}, {engine}']}", file=sys.stderr)

    def most(name: str) -> float:
        return max(figures[name] for figures in taken.values())

    shape = f"{len(options.presets)} presets × {len(options.engines)} engines"
    rows = [
        Row(
            f"recompiles over {STEPS} steps of schedules, temperature, num_items",
            0,
            most("recompiles over steps"),
            shape,
        ),
        Row(f"recompiles over {len(SHAPES)} shapes", 1, most("recompiles over shapes"), shape),
        Row("graph breaks", 0, most("graph breaks"), shape),
        Row("host synchronisations of a step", 0, most("synchronisations"), shape),
        *(
            Row(f"{name}: seconds to compile, {kind}", None, figures[f"{kind} seconds"], f"{figures['graphs']} graphs")
            for name, figures in taken.items()
            for kind in ("cold", "cached")
        ),
    ]
    report("compile", rows, {}, options, presets=taken)


if __name__ == "__main__":
    main()
