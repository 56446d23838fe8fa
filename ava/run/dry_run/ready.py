"""What is run dry: the loss with every size it needs, and the tensors of one call, drawn or captured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from ava.config import Config
from ava.errors import ArgumentTypeError, ArgumentValueError, ConfigError
from ava.numbers import short
from ava.plan.plan import Engine, Plan
from ava.run.capture import Captured, CaptureError
from ava.run.dry_run.fill import fill
from ava.run.dry_run.scenarios import Scenario, draw
from ava.run.loss import Loss
from ava.terms.base import Schedule

__all__ = ["DTYPES", "Ready", "Request", "eager_twin", "make_ready", "request_of"]

DTYPES = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16", "float64")}


@dataclass(frozen=True)
class Request:
    """What to run: ``step`` is the optimizer step whose weights count, None for after all schedules.

    ``captured`` tensors take the place of drawn ones; :func:`request_of` then gives shape and dtype.
    """

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
    engine: Engine = "logits"
    captured: Captured | None = None


@dataclass(frozen=True)
class Ready:
    """A loss and the arguments of one call of it, with what had to be filled in, moved or left out."""

    config: Config
    loss: Loss
    inputs: dict[str, Any]
    engine: Engine
    notes: list[str] = field(default_factory=list)

    @property
    def logits(self) -> tuple[int, int, int]:
        """Rows, columns and bytes a number of the logits, whether or not they exist."""
        rows: torch.Tensor = self.inputs["hidden_states" if self.engine == "linear" else "logits"]
        width = self.inputs["lm_head"].shape[0] if self.engine == "linear" else rows.shape[-1]
        return rows.shape[:-1].numel(), width, rows.element_size()

    @property
    def hidden_size(self) -> int | None:
        """The width of the hidden states of the call, or None where it has none."""
        hidden = self.inputs.get("hidden_states")
        return None if hidden is None else hidden.shape[-1]


def request_of(captured: Captured, engine: Engine | None, dtype: str | None, **rest: Any) -> Request:
    """Return the request to run captured tensors: on the engine and in the dtype that they are for, if none is asked.

    Raises:
        CaptureError: the engine asked for needs a tensor that the file has not.
    """
    inputs = captured.inputs
    engine = engine or ("logits" if "logits" in inputs else "linear")
    for name in ("hidden_states", "lm_head") if engine == "linear" else ("logits",):
        if name not in inputs:
            raise CaptureError(f"{captured.path}: has no `{name}`, which `--engine {engine}` needs")
    name = "hidden_states" if engine == "linear" else "logits"
    rows = inputs[name]
    if rows.ndim not in (2, 3) or rows.dtype not in DTYPES.values():
        raise CaptureError(
            f"{captured.path}: `{name}` should be a floating-point tensor [B, T, …] or [N, …], but "
            f"is a {str(rows.dtype).removeprefix('torch.')} tensor {list(rows.shape)}"
        )
    batch, length = (1, rows.shape[0]) if rows.ndim == 2 else rows.shape[:2]
    own = str(rows.dtype).removeprefix("torch.")
    return Request(batch=batch, length=length, dtype=dtype or own, engine=engine, captured=captured, **rest)


def make_ready(config: Config, request: Request, device: torch.device) -> Ready:
    """Return what a request asks to run.

    Raises:
        ArgumentValueError: a term needs an argument that cannot be drawn.
        CaptureError: captured tensors are not what the loss takes.
    """
    notes: list[str] = []
    captured = request.captured
    if captured is not None:
        config, notes = _sized(config, request, captured)
    filled = fill(config, vocab_size=request.vocab_size, compiled=request.compiled, engine=request.engine)
    notes += filled.notes
    runs = filled.config
    if runs.compile.checks == "full":  # a loss that is not finite is a finding here, and no error
        runs = Config.load(runs, overrides={"compile.checks": "cheap"})
    torch.manual_seed(request.seed)
    loss = Loss(runs).to(device)
    same = captured is not None and _alike(captured, config)
    if captured is not None and same:
        captured.restore(loss)
        notes.append(
            f"state as captured: step {int(loss.state.step)}, temperature {short(loss.state.temperature.item())}"
        )
    if not same or request.step is not None:
        step = _last_step(loss) if request.step is None else request.step
        loss.state.step.fill_(step)
        notes += _weight_notes(loss, step)
    if captured is None:
        notes += _scenario_notes(loss.plan, request.scenario)
        inputs: dict[str, Any] = draw(
            loss.plan,
            request.scenario,
            batch=request.batch,
            length=request.length,
            dtype=DTYPES[request.dtype],
            device=device,
            seed=request.seed,
            engine=request.engine,
        )
    else:
        inputs, left = _placed(captured, request, loss.plan, device)
        notes += [f"not used: {', '.join(left)}"] if left else []
        for planned in loss.plan.terms:
            lacking = planned.term.missing(inputs.keys())
            if lacking is not None and planned.term.if_missing == "skip":
                notes.append(f"`{planned.name}` is left out: there is no `{lacking}`")
                loss._told.add(planned.name)
        _try(loss, inputs, captured)
    return Ready(runs, loss, inputs, request.engine, notes)


def _alike(captured: Captured, config: Config) -> bool:
    """Return whether a call was captured from a loss that computes the same, however it is compiled."""
    if captured.config is None:
        return False
    try:
        first, second = Config.load(captured.config).to_dict(), config.to_dict()
    except ConfigError:  # of another version of this package
        return False
    return all(first.get(name) == second.get(name) for name in {*first, *second} - {"compile", "description"})


def _sized(config: Config, request: Request, captured: Captured) -> tuple[Config, list[str]]:
    """Return the configuration with the sizes of the captured tensors where it says none."""
    rows = captured.inputs["lm_head" if request.engine == "linear" else "logits"]
    sizes: dict[str, Any] = {"vocab_size": rows.shape[0] if request.engine == "linear" else rows.shape[-1]}
    if request.vocab_size is not None or config.model.padded_vocab_size is not None:
        del sizes["vocab_size"]
    gates, hidden = captured.inputs.get("gate_logits"), captured.inputs.get("hidden_states")
    if gates is not None:
        sizes["num_experts"] = (gates[0] if isinstance(gates, list) else gates).shape[-1]
    if hidden is not None:
        sizes["hidden_size"] = hidden.shape[-1]
    told = (captured.config or {}).get("model", {})
    found = {**sizes, **{name: value for name, value in told.items() if value is not None}}
    plan = Plan(config)
    wanted = {"vocab_size", *plan.static_model, "eos_token_id", "pad_token_id"}
    missing = {
        name: value for name, value in found.items() if name in wanted and getattr(config.model, name, 0) is None
    }
    if not missing:
        return config, []
    told_as = ", ".join(f"model.{name} {value}" for name, value in missing.items())
    overrides = {f"model.{name}": value for name, value in missing.items()}
    return Config.load(config, overrides=overrides), [f"from the captured tensors: {told_as}"]


def _placed(captured: Captured, request: Request, plan: Plan, device: torch.device) -> tuple[dict[str, Any], list[str]]:
    """Return the arguments as leaves, without those that would be a second source of logits, and their names."""
    dtype = DTYPES[request.dtype]
    inputs = captured.to(device, dtype)
    left = []
    if request.engine == "linear" and "logits" in inputs:
        left.append("logits")
    elif request.engine == "logits" and "lm_head" in inputs and "lm_head" not in _read(plan, inputs):
        left += [name for name in ("lm_head", "lm_head_bias") if name in inputs]
    inputs = {name: value for name, value in inputs.items() if name not in left}
    for name, value in inputs.items():
        for part in value if isinstance(value, list) else [value]:
            part.requires_grad_(part.is_floating_point() and part.ndim > 0 and name not in _FIXED)
    return inputs, left


_FIXED = ("teacher_logits", "attention_mask", "num_items")


def _read(plan: Plan, inputs: dict[str, Any]) -> set[str]:
    """Return the arguments that the terms read beside the logits."""
    heads = getattr(plan.config.terms, "mtp_loss", None)
    through = heads is not None and ("mtp_hidden_states" in inputs or heads.heads == "tied")
    return {*plan.inputs, *(("lm_head", "lm_head_bias") if through else ())}


def _try(loss: Loss, inputs: dict[str, Any], captured: Captured) -> None:
    """Call the loss once, uncompiled, so that what is wrong with the tensors is said as the file's mistake."""
    try:
        with torch.no_grad():
            eager_twin(loss).eval()(**inputs)
    except (ArgumentValueError, ArgumentTypeError) as error:
        raise CaptureError(f"{captured.path}: {error}") from None


def eager_twin(loss: Loss, *, fixed: bool = False) -> Loss:
    """Return an uncompiled loss with the same parameters and state, with ``fixed`` without learned balancing."""
    overrides: dict[str, Any] = {"compile.enabled": False, "compile.checks": "cheap"}
    overrides |= {"balancing": "fixed"} if fixed else {}
    twin = Loss(Config.load(loss.config, overrides=overrides)).to(loss._schedules.device)
    twin.load_state_dict(loss.state_dict(), strict=not fixed)
    twin._told = set(loss._told)
    return twin


def _scenario_notes(plan: Plan, scenario: Scenario) -> list[str]:
    about_experts = scenario in (Scenario.BALANCED, Scenario.SKEWED)
    if not about_experts or {"gate_logits", "expert_indices"} & set(plan.inputs):
        return []
    return [
        f"scenario {scenario} is about experts, on which no term works here: the tensors are as in {Scenario.RANDOM}"
    ]


def _last_step(loss: Loss) -> int:
    schedules = [planned.term.weight for planned in loss.plan.terms if isinstance(planned.term.weight, Schedule)]
    return max((schedule.delay + schedule.steps for schedule in schedules), default=0)


def _weight_notes(loss: Loss, step: int) -> list[str]:
    moving = [planned.name for planned in loss.plan.terms if isinstance(planned.term.weight, Schedule)]
    return [f"weights as of step {step:,}, by their schedules: {', '.join(moving)}"] if moving else []
