"""``Loss``: a configuration as a module that computes, compiled, what it says."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import torch
from torch import Tensor, nn

from ava.compile.batch import Batch, Measurements, closing_of
from ava.compile.compiler import run_graph
from ava.compile.graph import build_graph
from ava.compile.linear import LinearInput, measure_linear
from ava.compile.state import State, close, keep_dtype
from ava.compile.weights import weights_at
from ava.config import Config
from ava.errors import ArgumentTypeError, ArgumentValueError
from ava.plan import Plan
from ava.run.attach import Attached
from ava.run.build import check_model, own_heads, tables_of
from ava.run.call import CheckedCall, check_call, refuse_unknown
from ava.run.engine import LogitsInput
from ava.run.output import LossOutput
from ava.run.recall import Recall

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from ava.run.capture import Capture
    from ava.run.diagnose import Diagnosis

__all__ = ["Loss"]


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
    log_variances: nn.Parameter | None

    def __init__(self, config: Config) -> None:
        super().__init__()
        if not isinstance(config, Config):
            raise ArgumentTypeError(
                f"Loss takes an `ava.Config`, not {type(config).__name__}; `Loss.load` takes a preset's name, a path "
                "or a mapping."
            )
        self.config = config
        self.plan = Plan(config)
        check_model(self.plan)
        temperature = config.primary.temperature
        self.state = State(1.0 if temperature is None else temperature.initial)
        for name, table in tables_of(self.plan).items():
            self.register_buffer(name, table, persistent=False)
        self.heads = own_heads(self.plan)
        count = len(self.plan.terms)
        self.log_variances = nn.Parameter(torch.zeros(count)) if config.balancing == "uncertainty" and count else None
        self._attached: Attached | None = None
        self._told: set[str] = set()
        self._recall = Recall()

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
        hidden_states: Tensor | None = None,
        lm_head: Tensor | None = None,
        lm_head_bias: Tensor | None = None,
        mtp_logits: Tensor | Sequence[Tensor] | None = None,
        mtp_hidden_states: Tensor | Sequence[Tensor] | None = None,
        gate_logits: Tensor | Sequence[Tensor] | None = None,
        expert_indices: Tensor | Sequence[Tensor] | None = None,
        expert_outputs: Tensor | Sequence[Tensor] | None = None,
        teacher_logits: Tensor | None = None,
        num_items: Tensor | float | None = None,
        process_group: ProcessGroup | None = None,
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
            hidden_states: ``[B, T, H]``, what the model's head reads (``mtp_loss``, ``contrastive_loss``); with
                ``lm_head`` in place of ``logits``, which then never exist whole: the ``linear`` engine.
            lm_head: ``[V, H]``, the weight of the model's head.
            lm_head_bias: ``[V]``.
            mtp_logits: ``[K, B, T, V]``, logits of the model's own future-token heads.
            mtp_hidden_states: ``[K, B, T, H]``, what those heads project through ``lm_head``.
            gate_logits: ``[..., E]`` with ``B * T`` leading entries, or a sequence of one per layer.
            expert_indices: ``[..., k]``, the experts chosen; by default the top ``model.top_k`` of the gate logits.
            expert_outputs: ``[E, ..., H]``, or a list of one per expert.
            teacher_logits: ``[B, T, V]``, detached here.
            num_items: what sums are divided by, in place of the call's valid positions: their number in a whole
                accumulation window.
            process_group: the ranks over which ``logits`` or ``lm_head`` are split on the vocabulary, where they are
                plain local shards as ``torch.chunk`` makes them; a ``DTensor`` tells that itself.
            return_detailed: answer every term and metric instead of the total alone.

        Returns:
            The total, 0-d, in float32 (float64 for float64 logits), or a :class:`LossOutput`.

        Raises:
            ArgumentValueError: a tensor is missing or has the wrong shape, dtype or device.
            ArgumentTypeError: an unknown keyword.
            TargetIndexError: a target outside the vocabulary, with ``compile.checks: full``.
            NonFiniteLossError: the loss is not finite, with ``compile.checks: full``; it says why.
        """
        if unknown:
            refuse_unknown(unknown)
        given = {
            "logits": logits,
            "targets": targets,
            "attention_mask": attention_mask,
            "input_ids": input_ids,
            "segment_ids": segment_ids,
            "hidden_states": hidden_states,
            "lm_head": lm_head,
            "lm_head_bias": lm_head_bias,
            "mtp_logits": mtp_logits,
            "mtp_hidden_states": mtp_hidden_states,
            "gate_logits": gate_logits,
            "expert_indices": expert_indices,
            "expert_outputs": expert_outputs,
            "teacher_logits": teacher_logits,
            "num_items": num_items,
        }
        call = check_call(self, given, process_group, return_detailed)
        state, observed = self._recall.state_of(self.state, call.given["targets"], self.training)
        batch = Batch(
            self._measure(call, state),
            call.prepared,
            call.num_items,
            self._schedules,
            self._limits,
            call.extras,
            call.heads,
        )
        if torch.compiler.is_compiling():  # the caller compiles the whole step: be part of that graph
            answer, after = build_graph(self.plan, call.mode)(batch, state)
        else:
            answer, after = run_graph(self.plan, call.mode, batch, state)
        if observed:
            self.state.write(after)
        if self.config.compile.checks == "full":
            from ava.run.diagnose import require_finite

            require_finite(self, answer["total_loss"], call.mode.shard is not None, **call.given)
        return LossOutput(answer) if return_detailed else answer["total_loss"]

    def _measure(self, call: CheckedCall, state: dict[str, Tensor]) -> Tensor | Measurements:
        """Return logits ``[N, W]``, or what the linear engine found of those that it never holds."""
        rows = call.rows
        if isinstance(rows, LogitsInput):
            return rows.logits.flatten(0, 1)
        given = LinearInput(
            rows.hidden.flatten(0, 1),
            rows.weight,
            rows.bias,
            call.prepared,
            call.extras,
            call.heads,
            self._schedules,
            state,
        )
        found: Measurements = measure_linear(self.plan, call.mode, given)
        return found

    @property
    def expert_bias(self) -> Tensor:
        """The bias per layer and expert of ``moe_balance_loss`` with ``method: loss_free``, ``[L, E]`` float64.

        A router adds it to its scores before it picks its top k, and leaves it out of the gate's weights. It is there
        after the first call, or after a checkpoint was loaded.

        Raises:
            ArgumentValueError: there was no call yet, so the number of layers is not known.
        """
        if "expert_bias" not in self.state._buffers:
            raise ArgumentValueError("`expert_bias` is there after the first call with `gate_logits`.")
        return self.state.expert_bias

    @property
    def closes_every(self) -> int:
        """Training-mode calls per optimizer step; 0 where an attached optimizer closes it."""
        attached = self._attached is not None and self._attached.alive
        return 0 if attached else self.config.reduction.gradient_accumulation_steps

    def attach(self, optimizer: torch.optim.Optimizer) -> Loss:
        """Let the optimizer's own ``step`` close the loss's step (schedules, adaptive temperature); return the loss.

        Without it, a step closes after every ``reduction.gradient_accumulation_steps`` training-mode calls. A loss is
        attached to one optimizer: to another one, it leaves the first. Wrappers such as accelerate's are seen through.

        Raises:
            ArgumentTypeError: that is no optimizer.
        """
        attached = Attached(self, optimizer)
        if self._attached is not None:
            self._attached.leave()
        self._attached = attached
        return self

    @torch.no_grad()
    def close_step(self) -> None:
        """Close the optimizer step by hand: what an attached optimizer does."""
        state = self.state.tensors()
        closes = torch.ones_like(state["step"], dtype=torch.bool)
        self.state.write(close(state, closes, closing_of(self.plan), self._limits))

    def metrics(self) -> dict[str, Tensor]:
        """Return what the loss holds now, as 0-d tensors on its device: temperature, step, and each weight."""
        weights = weights_at(self._schedules, self.state.step)
        return {
            "temperature": self.state.temperature.clone(),
            "step": self.state.step.clone(),
            **{f"weight/{planned.name}": weights[i] for i, planned in enumerate(self.plan.terms)},
        }

    def capture(self, path: str | os.PathLike[str]) -> Capture:
        """Write the tensors of the next call to a safetensors file, for ``ava-loss dry-run --input``.

        With ``with``, the first call inside is written. Training is not disturbed: a failure to write is a warning.
        """
        from ava.run.capture import capture_call

        return capture_call(self, path)

    def diagnose(self, **inputs: Any) -> Diagnosis:
        """Return why the loss of these inputs (those of :meth:`forward`) is not finite, and what to try.

        Names the first tensor, row, position and term that went wrong. The state stays as it is.
        """
        from ava.run.diagnose import diagnose

        return diagnose(self, **inputs)

    def explain(self) -> str:
        """Return the plan as text: what is computed, what it needs and what it costs."""
        return str(self.plan)

    def extra_repr(self) -> str:
        """Return the primary loss and the terms that are on."""
        names = ", ".join(planned.name for planned in self.plan.terms)
        return f"{self.config.primary.type}{', ' if names else ''}{names}"

    def __getstate__(self) -> dict[str, Any]:
        """Leave the optimizer out: a copy, or what was pickled, is attached to none."""
        return {**self.__dict__, "_attached": None, "_recall": Recall()}

    def _apply(self, fn: Any, recurse: bool = True) -> Loss:
        tables = {name: getattr(self, name) for name in ("_schedules", "_limits")}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, table in tables.items():  # they keep their float64, and their values through `to_empty`
            moved = getattr(self, name)
            known = tables_of(self.plan)[name] if table.is_meta and not moved.is_meta else table
            if moved.dtype != table.dtype or known is not table:
                setattr(self, name, keep_dtype(known, moved.device))
        return self
