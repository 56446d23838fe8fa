"""Compile the loss, run it, and read the clocks."""

from __future__ import annotations

import copy
import math
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ava.compile.compiler import EagerFallbackWarning
from ava.config import Config
from ava.errors import ArgumentValueError
from ava.run.dry_run.decompose import decompose
from ava.run.dry_run.fill import fill
from ava.run.dry_run.instruments import Counters, clock, peak_bytes
from ava.run.dry_run.judge import judge
from ava.run.dry_run.report import Measured
from ava.run.dry_run.scenarios import Scenario, draw
from ava.run.loss import Loss
from ava.terms.base import Schedule

__all__ = ["DTYPES", "Request", "dry_run"]

DTYPES = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16", "float64")}
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What to run: ``step`` is the optimizer step whose weights count, None for after all schedules."""

    scenario: Scenario = Scenario.RANDOM
    batch: int = 4
    length: int = 128
    vocab_size: int | None = None
    dtype: str = "float32"
    device: str = "cpu"
    compiled: bool = True
    steps: int = 10
    seed: int = 0
    step: int | None = None


def dry_run(config: Config, request: Request, tell: Tell = lambda _: None) -> Measured:
    """Run ``config`` on synthetic tensors and measure it; ``tell`` is called with each stage.

    Raises:
        ArgumentValueError: there is no such device or not enough memory, or a term needs an argument that cannot be
            drawn.
        CompileError: the configuration insists on compiling, and this machine cannot.
    """
    try:
        return _dry_run(config, request, tell)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and "can't allocate memory" not in str(error):
            raise
    shape = f"{request.batch} × {request.length}"
    raise ArgumentValueError(f"not enough memory on {request.device} for {shape} positions; make --batch smaller")


def _dry_run(config: Config, request: Request, tell: Tell) -> Measured:
    device = _device(request.device)
    filled = fill(config, vocab_size=request.vocab_size, compiled=request.compiled)
    config, notes = filled.config, list(filled.notes)
    torch.manual_seed(request.seed)
    loss = Loss(config).to(device)
    step = _last_step(loss) if request.step is None else request.step
    notes += _weight_notes(loss, step)
    loss.state.step.fill_(step)
    tell("drawing tensors")
    tensors = draw(
        loss.plan,
        request.scenario,
        batch=request.batch,
        length=request.length,
        dtype=DTYPES[request.dtype],
        device=device,
        seed=request.seed,
    )
    eager = _eager(loss)
    factor = 0.5 if config.balancing == "uncertainty" else 1.0  # exp(-s)/2 with s = 0, as it starts
    weights = {planned.name: factor * planned.term.weight_at(step) for planned in loss.plan.terms}
    parts = decompose(_eager(loss, fixed=True), tensors, weights, lambda name: tell(f"gradient of {name}"))
    if config.balancing == "uncertainty":
        notes.append("uncertainty balancing: weights are those of its start, half of what is configured")

    breaks = 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", EagerFallbackWarning)
        compiled = config.compile.enabled is not False and config.compile.backend != "eager"
        tell("compiling" if compiled else "running")
        counted = Counters()
        began = time.perf_counter()
        try:
            total, gradients = _step(loss, tensors)
        except torch._dynamo.exc.Unsupported as error:
            breaks, compiled, loss = 1, False, copy.deepcopy(eager)
            notes.append(f"graph break: {str(error).strip().splitlines()[0]}")
            total, gradients = _step(loss, tensors)
        first = time.perf_counter() - began
    for warning in caught:
        if issubclass(warning.category, EagerFallbackWarning):
            compiled = False
            notes.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    finite = all(math.isfinite(value) for value in (total.item(), *(_norm(item) for item in gradients)))
    difference = None
    if compiled:
        tell("comparing with uncompiled")
        difference = _difference((total, gradients), _step(eager, tensors))
    del gradients
    graphs, forward, backward = counted.graphs(), [], []
    for index in range(request.steps):
        tell(f"step {index + 1} of {request.steps}")
        times = _timed(loss, tensors, device)
        forward.append(times[0])
        backward.append(times[1])
    recompiles = counted.graphs() - graphs
    tell("measuring memory")
    peak = peak_bytes(lambda: _step(loss, tensors), device)
    forward_ms, backward_ms = statistics.median(forward), statistics.median(backward)
    rows = request.batch * request.length
    logits = tensors["logits"]
    measured = Measured(
        preset=_name(config),
        engine="logits",
        total=total.item(),
        parts=parts,
        finite=finite and all(math.isfinite(term.raw) for term in parts.terms.values()),
        graph_breaks=breaks + counted.breaks(),
        recompiles=recompiles,
        compile_seconds=max(first - (forward_ms + backward_ms) / 1000, 0.0) if compiled else 0.0,
        forward_ms=forward_ms,
        backward_ms=backward_ms,
        peak_bytes=peak,
        planned_bytes=loss.plan.memory(rows, logits.shape[-1], logits.element_size()),
        eager_difference=difference,
        compiled=compiled,
        positions=rows,
        notes=tuple(notes),
    )
    return replace(measured, findings=judge(measured, config, request.scenario, request.dtype))


def _name(config: Config) -> str:
    source = config.source
    return "configuration" if source is None else source.files[0].preset or source.files[0].name


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros((), device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ArgumentValueError(f"--device {name}: not usable here ({reason})") from None
    if device.type == "meta":
        raise ArgumentValueError(f"--device {name}: computes nothing")
    return device


def _eager(loss: Loss, *, fixed: bool = False) -> Loss:
    """Return an uncompiled loss with the same parameters and state, with ``fixed`` without learned balancing."""
    overrides: dict[str, Any] = {"compile.enabled": False, **({"balancing": "fixed"} if fixed else {})}
    twin = Loss(Config.load(loss.config, overrides=overrides)).to(loss._schedules.device)
    twin.load_state_dict(loss.state_dict(), strict=not fixed)
    return twin


def _last_step(loss: Loss) -> int:
    schedules = [planned.term.weight for planned in loss.plan.terms if isinstance(planned.term.weight, Schedule)]
    return max((schedule.delay + schedule.steps for schedule in schedules), default=0)


def _weight_notes(loss: Loss, step: int) -> list[str]:
    moving = [planned.name for planned in loss.plan.terms if isinstance(planned.term.weight, Schedule)]
    return [f"weights as of step {step}: {', '.join(moving)} follow a schedule"] if moving else []


def _step(loss: Loss, tensors: dict[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
    leaves = [tensor for tensor in tensors.values() if tensor.requires_grad]
    total = loss(**tensors)
    found = torch.autograd.grad(total, leaves, allow_unused=True)
    return total.detach(), [grad for grad in found if grad is not None]


def _norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32)))


def _difference(one: tuple[Tensor, list[Tensor]], other: tuple[Tensor, list[Tensor]]) -> float:
    """Return the larger of the relative differences of the totals and of the gradients."""
    value = abs(one[0].item() - other[0].item()) / max(abs(other[0].item()), 1e-30)
    for mine, reference in zip(one[1], other[1], strict=True):
        norm = _norm(reference)
        value = max(value, _norm(mine - reference) / norm if norm else _norm(mine))
    return value


def _timed(loss: Loss, tensors: dict[str, Tensor], device: torch.device) -> tuple[float, float]:
    leaves = [tensor for tensor in tensors.values() if tensor.requires_grad]
    clocks = [clock(device)]
    total = loss(**tensors)
    clocks.append(clock(device))
    torch.autograd.grad(total, leaves, allow_unused=True)
    clocks.append(clock(device))
    return 1000 * (clocks[1] - clocks[0]), 1000 * (clocks[2] - clocks[1])
