"""Graphs, compiled once per plan and mode, with a fallback to eager that says so."""

from __future__ import annotations

import functools
import itertools
import shutil
import types
import warnings
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed
from torch._inductor import list_mode_options

from ava.compile.batch import Batch, Measurements, Mode, active_needs, wanted_by
from ava.compile.graph import INFINITE, Graph, build_graph
from ava.compile.reduce import ranks_of
from ava.errors import CompileError
from ava.plan import Plan
from ava.terms.base import Statistic

__all__ = ["EagerFallbackWarning", "compiled_function", "compiled_graph", "run_graph"]

F = TypeVar("F", bound=Callable[..., Any])
_CACHED = 256
_NUMBERS = itertools.count()
_CONTRACTED = {"cpp.enable_floating_point_contract_flag": "fast"}
"""A product and a sum may be one instruction on a CPU, as they are on a GPU: rounded once, and not twice."""
_ROWS = (
    "teacher_logits",
    "mtp_logits",
    "mtp_hidden",
    "mtp_targets",
    "mtp_valid",
    "hidden",
    "sample",
    "sample_rows",
    "routed",
)
"""Extras whose first dimension changes with the batch."""


class EagerFallbackWarning(UserWarning):
    """The graph runs uncompiled, because this machine cannot compile it."""


class _Key:
    """A plan that is equal to another one with the same graph."""

    __slots__ = ("plan",)

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __hash__(self) -> int:
        return hash(self.plan.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.plan.key == other.plan.key


def compiled_graph(plan: Plan, mode: Mode, device: torch.device, variant: tuple[Any, ...]) -> Graph:
    """Return the graph of a plan, compiled as its configuration says.

    Plans that differ in weights only share a graph. ``variant`` holds what else the caller knows to need a graph
    of its own (dtype, gradient mode), so that one graph is never specialised twice for it.

    Raises:
        CompileError: ``compile.enabled: true`` on a machine that cannot compile.
    """
    return _graph(_Key(plan), mode, _enabled(plan, device), device.type, variant)


def compiled_function(plan: Plan, device: torch.device, key: Hashable, build: Callable[[], F]) -> F:
    """Return what ``build`` makes, compiled as the configuration of the plan says; once for each ``key``.

    ``build`` may depend on what is in the plan's key and in ``key``, and on nothing else. Tensors in its function's
    arguments are dynamic in their first dimension.

    Raises:
        CompileError: ``compile.enabled: true`` on a machine that cannot compile.
    """
    enabled = _enabled(plan, device)
    full_key = (_Key(plan), enabled, device.type, key)
    function = _FUNCTIONS.get(full_key)
    if function is None:
        made = build()
        function = _with_dynamic_rows(_compile(made, plan, keep_buffers=False)) if enabled else made
        if len(_FUNCTIONS) >= _CACHED:
            _FUNCTIONS.pop(next(iter(_FUNCTIONS)))
        _FUNCTIONS[full_key] = function
    return cast("F", function)


_FUNCTIONS: dict[Hashable, Callable[..., Any]] = {}


def _with_dynamic_rows(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function of a chunk, whose number of rows is no constant of the graph."""

    @functools.wraps(function)
    def call(first: Any, *rest: Any) -> Any:
        tensors = [first] if isinstance(first, Tensor) else first.row_tensors()
        for tensor in tensors:
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
        return function(first, *rest)

    return call


def _enabled(plan: Plan, device: torch.device) -> bool:
    """Return whether to compile on a device, after saying why not where that was not asked for."""
    options = plan.config.compile
    if options.enabled is False or options.backend == "eager":
        return False
    if options.backend == "inductor":
        missing = _missing_toolchain(device.type)
        if missing and options.enabled is True:
            raise CompileError(
                f"`compile.enabled: true`, but {missing}. Install one, or set `compile.enabled` to `auto` (runs "
                "uncompiled with a warning) or `false`."
            )
        if missing:
            _warn_once(missing)
            return False
    return True


def run_graph(
    plan: Plan, mode: Mode, batch: Batch, state: dict[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Run a batch through its compiled graph, dynamic in the number of rows; see :func:`build_graph`."""
    extras = batch.extras
    measured = isinstance(batch.rows, Measurements)
    rows = [*batch.rows.sums.values(), batch.rows.confidence] if isinstance(batch.rows, Measurements) else [batch.rows]
    differentiable = torch.is_grad_enabled() and any(t.requires_grad for t in (*rows, *extras.values()))
    variant = (measured, rows[-1].dtype, differentiable, batch.num_items is None, ranks_of(plan), *sorted(extras))
    if not measured and ranks_of(plan) == 1 and mode.shard is None:  # else ranks could come to differ in their graphs
        mode = replace(mode, finite=True)
    graph = compiled_graph(plan, mode, rows[-1].device, variant)
    for tensor in (rows[-1], *batch.prepared, *(extras[name] for name in _ROWS if name in extras)):
        torch._dynamo.maybe_mark_dynamic(tensor, 0)
    for name in ("gate_logits", "expert_outputs"):
        if name in extras:
            torch._dynamo.maybe_mark_dynamic(extras[name], 1)
    return graph(batch, state)


@functools.lru_cache(maxsize=_CACHED)
def _graph(key: _Key, mode: Mode, enabled: bool, device_type: str, variant: tuple[Any, ...]) -> Graph:
    careful = build_graph(key.plan, replace(mode, finite=False))
    if not enabled:
        return careful
    compiled = _compile(careful, key.plan, keep_buffers=True)
    wanted = wanted_by(active_needs(key.plan, mode.skipped), mode.detailed)
    inductor = key.plan.config.compile.backend == "inductor"
    if not (mode.finite and inductor and device_type == "cpu" and Statistic.ENTROPY in wanted):
        return compiled
    return _while_finite(_compile(build_graph(key.plan, mode), key.plan, keep_buffers=True), compiled)


def _while_finite(quick: Graph, careful: Graph) -> Graph:
    """Return the graph that counts on finite logits, until a call has others: it and all later ones are careful.

    A graph changes nothing outside its answer, so the call can be made again. Only the caller's hooks on saved tensors
    would see both; under them every call is careful, so that a checkpointed region saves the same when it runs again.
    """
    finite = True

    @functools.wraps(careful)
    def call(batch: Batch, state: dict[str, Tensor]) -> Any:
        nonlocal finite
        if finite and torch._C._autograd._top_saved_tensors_default_hooks(False) is None:
            answer, after = quick(batch, state)
            finite = not answer.pop(INFINITE).numpy()  # of a CPU: nobody waits
            if finite:
                return answer, after
            del answer, after
        return careful(batch, state)

    return call


def _compile(function: Callable[..., Any], plan: Plan, *, keep_buffers: bool) -> Callable[..., Any]:
    options = plan.config.compile
    arguments: dict[str, Any] = {"backend": options.backend, "fullgraph": True}
    if options.backend == "inductor":
        arguments["options"] = {**list_mode_options(options.mode), **_CONTRACTED}
    compiled: Callable[..., Any] = torch.compile(_with_own_code(function), **arguments)
    return _or_eager(_keep_buffers(compiled) if keep_buffers else compiled, function, options.enabled is True)


def _or_eager(compiled: Callable[..., Any], function: Callable[..., Any], required: bool) -> Callable[..., Any]:
    """Return the compiled function, which runs uncompiled from the first failure of the compiler on.

    A compiler may be there and not work: one without Python's headers, say. It fails before anything ran, so the call
    can be made again.
    """
    works = True

    @functools.wraps(function)
    def call(*values: Any) -> Any:
        nonlocal works
        if works:
            try:
                return compiled(*values)
            except BackendCompilerFailed as error:
                reason = str(error.inner_exception).strip().partition("\n")[0]
                if required:
                    raise CompileError(f"`compile.enabled: true`, but the compiler failed: {reason}") from error
                works = False
                _warn_once(f"the compiler failed: {reason}")
        return function(*values)

    return call


def _with_own_code(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with a code object, and a name, of its own.

    Dynamo keeps its cache, and its limit of recompilations, per code object; graphs of different plans come from one
    definition and would share them. What it takes for dynamic it remembers by file, line and name: without a name of
    its own, a second loss with another vocabulary would have one of unknown size.
    """
    assert isinstance(function, types.FunctionType)
    return types.FunctionType(
        function.__code__.replace(co_name=f"{function.__name__}_{next(_NUMBERS)}"),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )


def _keep_buffers(compiled: Callable[..., Any]) -> Graph:
    """Let ``backward(retain_graph=True)`` work.

    By default the backward of a compiled graph may overwrite what the forward saved ("donated buffers"), and then
    refuses to run twice. Compiling without that is not enough: torch 2.13 mistakes "not collected" for "some" when it
    checks, so the empty list is written where the check looks.
    """

    @functools.wraps(compiled)
    def call(*arguments: Any) -> Any:
        with torch._functorch.config.patch(donated_buffer=False):
            answer, after = compiled(*arguments)
        node = getattr(answer["total_loss"].grad_fn, "_forward_cls", None)
        metadata = getattr(node, "metadata", None)
        if metadata is not None and metadata.bw_donated_idxs is None:
            metadata.bw_donated_idxs = []
        return answer, after

    return call


@functools.cache
def _missing_toolchain(device_type: str) -> str | None:
    """Return what Inductor lacks on this machine, or None."""
    if device_type == "cpu":
        from torch._inductor import config

        compilers = config.cpp.cxx if isinstance(config.cpp.cxx, (tuple, list)) else (config.cpp.cxx,)
        if not any(compiler and shutil.which(compiler) for compiler in compilers):
            return "there is no C++ compiler (g++ or clang++)"
        return None
    if device_type in ("cuda", "xpu"):
        from torch.utils._triton import has_triton

        return None if has_triton() else "Triton is not installed"
    return f"Inductor has no backend for `{device_type}`"


@functools.cache
def _warn_once(missing: str) -> None:
    warnings.warn(
        f"The loss runs uncompiled, several times slower, because {missing}. Results are the same. Set "
        "`compile.enabled: false` to silence this.",
        EagerFallbackWarning,
        stacklevel=4,
    )
