"""Compile the loss, run it, and read the clocks."""

from __future__ import annotations

import copy
import math
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ava.compile.compiler import EagerFallbackWarning
from ava.config import Config
from ava.errors import ArgumentValueError
from ava.plan import Plan
from ava.run.diagnose import diagnose
from ava.run.dry_run.decompose import Inputs, decompose, leaves_of
from ava.run.dry_run.instruments import Counters, break_reason, clock, peak_bytes
from ava.run.dry_run.judge import judge
from ava.run.dry_run.ready import DTYPES, Ready, Request, eager_twin, make_ready
from ava.run.dry_run.report import Measured
from ava.run.loss import Loss

__all__ = ["DTYPES", "Request", "dry_run", "open_device", "preset_name"]

Tell = Callable[[str], None]


def dry_run(config: Config, request: Request, tell: Tell = lambda _: None) -> Measured:
    """Run ``config`` on synthetic or captured tensors and measure it; ``tell`` is called with each stage.

    Raises:
        ArgumentValueError: there is no such device or not enough memory, or a term needs an argument that cannot be
            drawn.
        CaptureError: captured tensors are not what the loss takes.
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
    device = open_device(request.device)
    tell("drawing tensors" if request.captured is None else "placing tensors")
    ready = make_ready(config, request, device)
    config, loss, inputs, notes = ready.config, ready.loss, ready.inputs, list(ready.notes)
    step = int(loss.state.step)
    eager = eager_twin(loss)
    factor = 0.5 if config.balancing == "uncertainty" else 1.0  # exp(-s)/2 with s = 0, as it starts
    weights = {planned.name: factor * planned.term.weight_at(step) for planned in loss.plan.terms}
    parts = decompose(eager_twin(loss, fixed=True), inputs, weights, lambda name: tell(f"gradient of {name}"))
    if config.balancing == "uncertainty":
        notes.append("uncertainty balancing: weights are those of its start, half of what is configured")

    reasons: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", EagerFallbackWarning)
        compiled = config.compile.enabled is not False and config.compile.backend != "eager"
        tell("compiling" if compiled else "running")
        counted = Counters()
        began = time.perf_counter()
        try:
            total, gradients = _step(loss, inputs)
        except torch._dynamo.exc.Unsupported as error:
            reasons.append(break_reason(error))
            compiled, loss = False, copy.deepcopy(eager)
            total, gradients = _step(loss, inputs)
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
        difference = _difference((total, gradients), _step(eager, inputs))
    del gradients
    graphs, forward, backward = counted.graphs(), [], []
    for index in range(request.steps):
        tell(f"step {index + 1} of {request.steps}")
        times = _timed(loss, inputs, device)
        forward.append(times[0])
        backward.append(times[1])
    recompiles = counted.graphs() - graphs
    tell("measuring memory")
    peak = peak_bytes(lambda: _step(loss, inputs), device)
    finite = finite and all(math.isfinite(term.raw) for term in parts.terms.values())
    causes = () if finite else tuple(finding.message for finding in diagnose(eager, **inputs).findings)
    forward_ms, backward_ms = statistics.median(forward), statistics.median(backward)
    measured = Measured(
        preset=preset_name(config),
        engine=ready.engine,
        total=total.item(),
        parts=parts,
        finite=finite,
        graph_breaks=len(reasons) + counted.breaks(),
        recompiles=recompiles,
        compile_seconds=max(first - (forward_ms + backward_ms) / 1000, 0.0) if compiled else 0.0,
        forward_ms=forward_ms,
        backward_ms=backward_ms,
        peak_bytes=peak,
        planned_bytes=_planned(ready, compiled),
        eager_difference=difference,
        compiled=compiled,
        positions=ready.logits[0],
        notes=tuple(notes),
        break_reasons=(*reasons, *counted.reasons()),
        causes=causes,
    )
    scenario = "captured" if request.captured is not None else request.scenario
    return replace(measured, findings=judge(measured, config, scenario, request.dtype))


def _planned(ready: Ready, compiled: bool) -> int:
    """Return the plan's estimate for what was run: of the compiled graph, or of its separate operations."""
    config = ready.config if compiled else Config.load(ready.config, overrides={"compile.enabled": False})
    return Plan(config).memory(*ready.logits, ready.engine, hidden_size=ready.hidden_size)


def preset_name(config: Config) -> str:
    """Return the name of the preset or file that ``config`` was read from."""
    source = config.source
    return "configuration" if source is None else source.files[0].preset or source.files[0].name


def open_device(name: str) -> torch.device:
    """Return the device of that name, tried out. Raises :class:`~ava.errors.ArgumentValueError` where it cannot run."""
    try:
        device = torch.device(name)
        torch.zeros((), device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ArgumentValueError(f"--device {name}: not usable here ({reason})") from None
    if device.type == "meta":
        raise ArgumentValueError(f"--device {name}: computes nothing")
    return device


def _step(loss: Loss, inputs: Inputs) -> tuple[Tensor, list[Tensor]]:
    leaves = leaves_of(inputs)
    total = loss(**inputs)
    found = torch.autograd.grad(total, leaves, allow_unused=True)
    return total.detach(), [grad for grad in found if grad is not None]


def _norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32)))


def _difference(one: tuple[Tensor, list[Tensor]], other: tuple[Tensor, list[Tensor]]) -> float:
    """Return the largest of the relative differences of the totals and of the gradients; infinite if any is NaN."""
    values = [abs(one[0].item() - other[0].item()) / max(abs(other[0].item()), 1e-30)]
    for mine, reference in zip(one[1], other[1], strict=True):
        norm = _norm(reference)
        values.append(_norm(mine - reference) / norm if norm else _norm(mine))
    return math.inf if any(math.isnan(value) for value in values) else max(values)


def _timed(loss: Loss, inputs: Inputs, device: torch.device) -> tuple[float, float]:
    leaves = leaves_of(inputs)
    clocks = [clock(device)]
    total = loss(**inputs)
    clocks.append(clock(device))
    torch.autograd.grad(total, leaves, allow_unused=True)
    clocks.append(clock(device))
    return 1000 * (clocks[1] - clocks[0]), 1000 * (clocks[2] - clocks[1])
