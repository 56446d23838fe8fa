"""A loss against cross-entropy on this machine: time and memory of forward and backward, answers compared first."""

from __future__ import annotations

import math
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ava.compile.compiler import EagerFallbackWarning
from ava.config import Config
from ava.errors import ArgumentValueError
from ava.plan.plan import Engine
from ava.run.dry_run.decompose import leaves_of
from ava.run.dry_run.instruments import break_reason, clock, peak_bytes
from ava.run.dry_run.measure import open_device, preset_name
from ava.run.dry_run.ready import DTYPES, Request, eager_twin, make_ready
from ava.run.dry_run.report import plain
from ava.run.loss import Loss

__all__ = ["CROSS_ENTROPY", "LOSS", "Benched", "Setting", "bench"]

LOSS, CROSS_ENTROPY = "loss", "cross_entropy"
COMPILED, LIBRARY = "cross_entropy_compiled", "linear_cross_entropy"
_LONGEST, _SHORTEST = 512, 32
_TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-4}
Side = Callable[[], Tensor]


@dataclass(frozen=True)
class Setting:
    """What to time: ``rows`` positions in all; ``hidden_size`` where the configuration says none."""

    rows: int = 512
    vocab_size: int = 32768
    hidden_size: int = 256
    dtype: str = "float32"
    device: str = "cpu"
    engine: Engine = "logits"
    rounds: int = 7
    seed: int = 0

    @property
    def layout(self) -> tuple[int, int]:
        """Batch and length whose product is ``rows``.

        >>> Setting(rows=2048).layout, Setting(rows=1000).layout, Setting(rows=1009).layout
        ((4, 512), (2, 500), (1, 1009))
        """
        length = next(size for size in range(min(self.rows, _LONGEST), 0, -1) if self.rows % size == 0)
        return (self.rows // length, length) if length >= min(self.rows, _SHORTEST) else (1, self.rows)


@dataclass(frozen=True)
class Benched:
    """What came out. Times are medians in milliseconds, memory in bytes above the inputs, by side.

    ``differences`` are relative, the larger of the loss's and of the gradients': of the compiled loss from the
    uncompiled one, and of this package's cross-entropy from torch's. Nothing is timed where they do not ``agree``.
    """

    preset: str
    setting: Setting
    hidden_size: int | None
    threads: int
    compiled: bool
    compile_seconds: float | None
    differences: dict[str, float]
    agree: bool
    milliseconds: dict[str, float] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def ratios(self) -> dict[str, float]:
        """Time of the loss ÷ that of each other side."""
        return {
            name: self.milliseconds[LOSS] / value for name, value in self.milliseconds.items() if name != LOSS and value
        }

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        told = {name: value for name, value in asdict(self).items() if name != "setting"}
        told["differences"] = {name: plain(value) for name, value in self.differences.items()}
        return {**asdict(self.setting), **told, "ratios": self.ratios, "torch": torch.__version__}


def bench(config: Config, setting: Setting, tell: Callable[[str], None] = lambda _: None) -> Benched:
    """Time the loss of ``config`` beside cross-entropy on the same tensors; ``tell`` is called with each stage.

    Raises:
        ArgumentValueError: there is no such device or not enough memory, or a term needs an argument that cannot be
            drawn.
        CompileError: the configuration insists on compiling, and this machine cannot.
    """
    device = open_device(setting.device)
    try:
        return _bench(config, setting, device, tell)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and "can't allocate memory" not in str(error):
            raise
    raise ArgumentValueError(
        f"not enough memory on {setting.device} for {setting.rows} rows × {setting.vocab_size} columns; make --rows "
        "smaller"
    )


def _bench(config: Config, setting: Setting, device: torch.device, tell: Callable[[str], None]) -> Benched:
    tell("drawing tensors")
    batch, length = setting.layout
    if config.model.hidden_size is None:
        config = Config.load(config, overrides={"model.hidden_size": setting.hidden_size})
    request = Request(
        batch=batch,
        length=length,
        vocab_size=setting.vocab_size,
        dtype=setting.dtype,
        engine=setting.engine,
        seed=setting.seed,
    )
    ready = make_ready(config, request, device)
    loss, inputs, notes = ready.loss, ready.inputs, list(ready.notes)
    compiled = ready.config.compile.enabled is not False and ready.config.compile.backend != "eager"
    leaves = leaves_of(inputs)

    def ours() -> Tensor:
        total: Tensor = loss(**inputs)
        return total

    tell("compiling the loss" if compiled else "running the loss")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", EagerFallbackWarning)
        began = time.perf_counter()
        try:
            _taken(ours, leaves)
        except torch._dynamo.exc.Unsupported as error:
            compiled, loss = False, eager_twin(loss)
            notes.append(f"the loss does not compile, so it runs uncompiled: {break_reason(error)}")
        seconds = time.perf_counter() - began
    for warning in caught:
        if issubclass(warning.category, EagerFallbackWarning):
            compiled = False
            notes.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    tell("comparing results")
    differences = {}
    if compiled:
        twin = eager_twin(loss)  # with the state that the next call starts from
        differences["compiled"] = _difference(_taken(ours, leaves), _taken(lambda: twin(**inputs), leaves))
    names = ("logits",) if setting.engine == "logits" else ("hidden_states", "lm_head")
    rows = {name: inputs[name] for name in names}
    ignore_index = config.model.ignore_index
    bare, targets = _bare(ready.logits[1], ignore_index).to(device), inputs["targets"]
    peers = _peers(rows, targets, ignore_index)
    differences[CROSS_ENTROPY] = _difference(
        _taken(lambda: bare(**rows, targets=targets), list(rows.values())),
        _taken(peers[CROSS_ENTROPY], list(rows.values())),
    )
    result = Benched(
        preset=preset_name(config),
        setting=setting,
        hidden_size=ready.hidden_size,
        threads=torch.get_num_threads(),
        compiled=compiled,
        compile_seconds=seconds if compiled else None,
        differences=differences,
        agree=all(value <= _TOLERANCE.get(DTYPES[setting.dtype], 2e-2) for value in differences.values()),
        notes=tuple(notes),
    )
    if not result.agree:
        return result
    if compiled:
        peers[COMPILED] = torch.compile(peers[CROSS_ENTROPY])
    return _timed(result, {LOSS: ours, **peers}, leaves, device, tell)


def _bare(width: int, ignore_index: int) -> Loss:
    """Return plain cross-entropy of logits of ``width`` columns, as this package computes it."""
    model = {"vocab_size": width, "ignore_index": ignore_index}
    return Loss(Config.load({"version": 1, "model": model, "compile": {"enabled": False}}))


def _peers(rows: dict[str, Tensor], targets: Tensor, ignore_index: int) -> dict[str, Side]:
    """Return torch's own cross-entropy of the same tensors, by name."""
    flat = targets.flatten()
    if "logits" in rows:
        logits = rows["logits"]
        return {CROSS_ENTROPY: lambda: F.cross_entropy(logits.flatten(0, -2), flat, ignore_index=ignore_index)}
    hidden, weight = rows["hidden_states"], rows["lm_head"]
    peers: dict[str, Side] = {
        CROSS_ENTROPY: lambda: F.cross_entropy(F.linear(hidden.flatten(0, -2), weight), flat, ignore_index=ignore_index)
    }
    chunked = getattr(F, "linear_cross_entropy", None)  # from torch 2.13 on
    if chunked is not None:
        options = torch.nn.LinearCrossEntropyOptions()
        peers[LIBRARY] = lambda: chunked(
            hidden.flatten(0, -2), weight, flat, ignore_index=ignore_index, options=options
        )
    return peers


def _timed(
    result: Benched, sides: dict[str, Side], leaves: list[Tensor], device: torch.device, tell: Callable[[str], None]
) -> Benched:
    """Return the result with the times of all sides, taken in turns, and their memory."""
    for name, side in sides.items():
        tell(f"warming up {name}")
        _taken(side, leaves)
        _taken(side, leaves)
    times: dict[str, list[float]] = {name: [] for name in sides}
    for index in range(result.setting.rounds):
        tell(f"round {index + 1} of {result.setting.rounds}")
        for name, side in sides.items():
            began = clock(device)
            _taken(side, leaves)
            times[name].append(1000 * (clock(device) - began))
    peaks = {}
    for name, side in sides.items():
        tell(f"memory of {name}")
        peaks[name] = peak_bytes(lambda side=side: _taken(side, leaves), device)  # type: ignore[misc]
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    return replace(result, milliseconds=medians, peak_bytes=peaks)


def _taken(side: Side, leaves: list[Tensor]) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """Return a loss and its gradients."""
    total = side()
    return total.detach(), torch.autograd.grad(total, leaves, allow_unused=True)


def _difference(one: tuple[Tensor, Sequence[Tensor | None]], other: tuple[Tensor, Sequence[Tensor | None]]) -> float:
    """Return the larger of the relative differences of the losses and of the gradients; infinite for what is NaN."""
    found = [abs(one[0].item() - other[0].item()) / max(abs(other[0].item()), 1e-30)]
    for mine, reference in zip(one[1], other[1], strict=True):
        if mine is None or reference is None:
            found.append(0.0 if mine is reference else math.inf)
            continue
        wide = torch.promote_types(mine.dtype, torch.float32)
        norm = torch.linalg.vector_norm(reference, dtype=wide).item()
        apart = torch.linalg.vector_norm(mine.to(wide) - reference.to(wide)).item()
        found.append(apart / norm if norm else apart)
    return max(found) if all(map(math.isfinite, found)) else math.inf
