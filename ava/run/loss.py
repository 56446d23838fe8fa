"""``Loss``: a configuration as a module that computes, compiled, what it says."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from ava.compile.compiler import compiled_graph
from ava.compile.graph import Batch, Mode, build_graph, prepared_wants
from ava.compile.prepare import prepare
from ava.compile.state import State, close
from ava.compile.weights import schedule_table, weights_at
from ava.config import Config
from ava.errors import ArgumentTypeError, ArgumentValueError, did_you_mean
from ava.plan import Plan
from ava.run.inputs import as_items, check_logits, check_mask, check_target_range, check_tokens
from ava.run.output import LossOutput

__all__ = ["Loss"]

FORWARD_ARGUMENTS = (
    "logits",
    "targets",
    "attention_mask",
    "input_ids",
    "segment_ids",
    "num_items",
    "return_detailed",
)


class Loss(nn.Module):
    """The loss that a configuration describes.

    >>> import torch
    >>> loss_fn = Loss.load({"version": 1, "terms": {"z_loss": {}}}, overrides={"compile.enabled": False})
    >>> logits = torch.zeros(2, 3, 8, requires_grad=True)
    >>> out = loss_fn(logits, torch.ones(2, 3, dtype=torch.int64), return_detailed=True)
    >>> out["total_loss"].backward()
    >>> round(out["main_loss"].item(), 3), round(out["raw/z_loss"].item(), 3)
    (2.079, 4.324)

    Args:
        config: a validated configuration.

    Raises:
        ArgumentValueError: a term misses a field of ``model:``.
    """

    _schedules: Tensor
    _limits: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        if not isinstance(config, Config):
            raise ArgumentTypeError(
                f"Loss takes an `ava.Config`, not {type(config).__name__}; `Loss.load` takes a preset's name, a path "
                "or a mapping."
            )
        self.config = config
        self.plan = Plan(config)
        _check_model(self.plan)
        temperature = config.primary.temperature
        self.state = State(1.0 if temperature is None else temperature.initial)
        limits = (0.0, 1.0, 1.0) if temperature is None else (temperature.rate, *temperature.bounds)
        table = schedule_table([planned.term.weight for planned in self.plan.terms])
        self.register_buffer("_schedules", table, persistent=False)
        self.register_buffer("_limits", torch.tensor(limits, dtype=torch.float64), persistent=False)
        self._attached: weakref.ref[torch.optim.Optimizer] | None = None

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str] | Mapping[str, Any] | Config,
        *,
        overrides: Any = None,
        **model: Any,
    ) -> Loss:
        """Build the loss of a preset, a file, a mapping or a configuration.

        Args:
            source: a preset's name, a path, a mapping, or a :class:`~ava.Config`.
            overrides: values to set on top, ``{"terms.z_loss.weight": 1e-3}``.
            model: fields of ``model:`` that the source leaves open, such as ``vocab_size=50257``.

        Raises:
            ConfigError: the configuration has mistakes; the error lists all of them with their positions.
            SourceError: there is no such file or preset.
        """
        return cls(Config.load(source, overrides=overrides, **model))

    @overload
    def forward(
        self,
        logits: Tensor | None = ...,
        targets: Tensor | None = ...,
        *,
        return_detailed: Literal[False] = ...,
        **tensors: Any,
    ) -> Tensor: ...
    @overload
    def forward(
        self,
        logits: Tensor | None = ...,
        targets: Tensor | None = ...,
        *,
        return_detailed: Literal[True],
        **tensors: Any,
    ) -> LossOutput: ...
    def forward(
        self,
        logits: Tensor | None = None,
        targets: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        input_ids: Tensor | None = None,
        segment_ids: Tensor | None = None,
        num_items: Tensor | float | None = None,
        return_detailed: bool = False,
        **unknown: Any,
    ) -> Tensor | LossOutput:
        """Return the loss of a batch.

        Args:
            logits: ``[B, T, V]`` or ``[N, V]`` (one row of ``N`` positions), any float dtype.
            targets: ``[B, T]`` integers: the token that each position predicts (with ``targets.shift``, the tokens
                of the row itself).
            attention_mask: ``[B, T]``, 0 for padding.
            input_ids: ``[B, T]``, what the model read; else it is told from the targets.
            segment_ids: ``[B, T]``, the document of each token in a packed row.
            num_items: what sums are divided by, in place of the call's valid positions: their number in a whole
                accumulation window.
            return_detailed: answer every term and metric instead of the total alone.

        Returns:
            The total, 0-d, in float32 (float64 for float64 logits), or a :class:`LossOutput`.

        Raises:
            ArgumentValueError: a tensor is missing or has the wrong shape, dtype or device.
            ArgumentTypeError: an unknown keyword.
            TargetIndexError: a target outside the vocabulary, with ``compile.checks: full``.
        """
        if unknown:
            name = next(iter(unknown))
            raise ArgumentTypeError(f"`{name}` is not an argument of Loss{did_you_mean(name, FORWARD_ARGUMENTS)}")
        model = self.config.model
        if logits is None:
            raise ArgumentValueError("`logits` should be a tensor [B, T, V] or [N, V], but is None.")
        rows = check_logits(logits, model.vocab_size, model.padded_vocab_size)
        if targets is None:
            raise ArgumentValueError("`targets` should be an integer tensor [B, T], but is None.")
        vocab_size = model.vocab_size or rows.shape[-1]
        shape, device = (rows.shape[0], rows.shape[1]), rows.device
        targets = check_tokens("targets", targets, shape, device, "logits")
        if attention_mask is not None:
            attention_mask = check_mask("attention_mask", attention_mask, shape, device, "logits")
        if input_ids is not None:
            input_ids = check_tokens("input_ids", input_ids, shape, device, "logits")
        if segment_ids is not None:
            segment_ids = check_tokens("segment_ids", segment_ids, shape, device, "logits")

        wants, candidates = prepared_wants(self.plan)
        prepared = prepare(
            targets,
            attention_mask,
            input_ids,
            segment_ids,
            vocab_size,
            self.config.targets.shift,
            model.ignore_index,
            model.eos_token_id,
            model.pad_token_id,
            " ".join(wants),
            [number for pick in candidates for number in (pick.size, pick.window)],
        )
        if self.config.compile.checks == "full":
            valid = prepared[0].view(shape)
            aligned = targets.roll(-1, 1) if self.config.targets.shift else targets
            check_target_range(aligned, valid, vocab_size)
        batch = Batch(
            rows.flatten(0, 1), prepared, as_items(num_items, device), self._schedules, self._limits
        )
        mode = Mode(vocab_size, return_detailed, self.training, self._closes_every)
        answer = self._run(batch, mode)
        return LossOutput(answer) if return_detailed else answer["total_loss"]

    def _run(self, batch: Batch, mode: Mode) -> dict[str, Tensor]:
        state = self.state.tensors()
        if torch.compiler.is_compiling():  # the caller compiles the whole step: be part of that graph
            return build_graph(self.plan, mode)(batch, state)
        logits = batch.logits
        differentiable = logits.requires_grad and torch.is_grad_enabled()
        variant = (logits.dtype, differentiable, batch.num_items is None, torch.are_deterministic_algorithms_enabled())
        graph = compiled_graph(self.plan, mode, logits.device, variant)
        for tensor in (logits, *batch.prepared):
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
        return graph(batch, state)

    @property
    def _closes_every(self) -> int:
        attached = self._attached is not None and self._attached() is not None
        return 0 if attached else self.config.reduction.gradient_accumulation_steps

    def attach(self, optimizer: torch.optim.Optimizer) -> Loss:
        """Let the optimizer's own ``step`` close the loss's step (schedules, adaptive temperature); return the loss.

        Without it, a step closes after every ``reduction.gradient_accumulation_steps`` training-mode calls.
        """
        this = weakref.ref(self)

        def stepped(*_: Any) -> None:
            loss = this()
            if loss is not None:
                loss.close_step()

        optimizer.register_step_post_hook(stepped)
        self._attached = weakref.ref(optimizer)
        return self

    @torch.no_grad()
    def close_step(self) -> None:
        """Close the optimizer step by hand: what an attached optimizer does."""
        temperature = self.config.primary.temperature
        adaptive = temperature is not None and temperature.adaptive
        state = self.state.tensors()
        close(state, torch.ones_like(state["step"], dtype=torch.bool), adaptive, self._limits)

    def metrics(self) -> dict[str, Tensor]:
        """Return what the loss holds now, as 0-d tensors on its device: temperature, step, and each weight."""
        weights = weights_at(self._schedules, self.state.step)
        return {
            "temperature": self.state.temperature.clone(),
            "step": self.state.step.clone(),
            **{f"weight/{planned.name}": weights[i] for i, planned in enumerate(self.plan.terms)},
        }

    def explain(self) -> str:
        """Return the plan as text: what is computed, what it needs and what it costs."""
        return str(self.plan)

    def extra_repr(self) -> str:
        """Return the primary loss and the terms that are on."""
        names = ", ".join(planned.name for planned in self.plan.terms)
        return f"{self.config.primary.type}{', ' if names else ''}{names}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Loss:
        copy = type(self)(self.config)
        memo[id(self)] = copy
        copy.load_state_dict(self.state_dict())
        copy.to(self._schedules.device)
        copy.train(self.training)
        return copy

    def _apply(self, fn: Any, recurse: bool = True) -> Loss:
        kept = {name: getattr(self, name) for name in ("_schedules", "_limits")}
        super()._apply(fn, recurse)
        for name, buffer in kept.items():  # numbers of the configuration keep their float64
            moved = getattr(self, name)
            if moved.dtype != buffer.dtype:
                setattr(self, name, torch.empty_like(buffer, device=moved.device) if buffer.is_meta else buffer.to(moved.device))
        return self


def _check_model(plan: Plan) -> None:
    for planned in plan.terms:
        for field in planned.needs.model:
            if getattr(plan.config.model, field) is None:
                raise ArgumentValueError(
                    f"`{planned.name}` needs `model.{field}`: set it in the configuration, or pass `{field}=…` to "
                    "`Loss.load`."
                )
