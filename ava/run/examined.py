"""A call of a loss taken apart for a diagnosis: its tensors with what counts in them, and its answer again."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ava.compile.heads import head_logits
from ava.compile.prepare import prepare
from ava.config import Config
from ava.errors import ArgumentValueError
from ava.plan import Plan

if TYPE_CHECKING:
    from ava.run.loss import Loss

__all__ = ["Examined", "Place", "Seen", "examine"]

_MASKED = ("logits", "mtp_logits", "teacher_logits", "gate_logits")  # may hold -inf: a column that is switched off
_ALONE = {"compile.enabled": False, "compile.checks": "cheap", "reduction.across": "none"}  # waits for no other rank
_HIDDEN_BATCH = ("hidden_states", "logits", "teacher_logits")


@dataclass(frozen=True, slots=True)
class Place:
    """A number that is not finite: the tensor, its index there, the batch row and position if it has them."""

    tensor: str
    index: tuple[int, ...]
    row: int | None
    position: int | None
    value: float

    def __str__(self) -> str:
        where = [] if self.row is None else [f"row {self.row}", f"position {self.position}"]
        inside = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        return f"`{self.tensor}`{inside} = {self.value:g}" + (f" ({', '.join(where)})" if where else "")


@dataclass(frozen=True, slots=True)
class Seen:
    """A tensor of the call: its first entry that should be finite and is not, and the range of the finite ones."""

    tensor: Tensor
    bad: Place | None
    low: float
    high: float


class Examined:
    """One call: an uncompiled twin of the loss, the arguments, and which positions count.

    Attributes:
        loss: the twin; it shares the parameters and has a state of its own.
        inputs: arguments by name, with their batch dimension.
        shape: ``(B, T)``.
        valid: bool ``[B, T]``: positions that count.
        target: int64 ``[B, T]``, the token each position predicts; -1 outside the vocabulary.
        vocab_size: columns that take part.
        tensors: every floating-point tensor that the call uses, in the order of the computation.
    """

    def __init__(self, loss: Loss, inputs: dict[str, Any]) -> None:
        self.loss = _twin(loss)
        self.inputs = {name: value for name, value in inputs.items() if value is not None}
        self.answer()  # says what is wrong with the arguments
        self.shape, self.vocab_size = self._sizes()
        batched = {name: self._batched(name, value) for name, value in self.inputs.items()}
        self.inputs = batched
        model, targets = loss.config.model, batched["targets"].long()
        self.raw_target = targets.roll(-1, 1) if loss.config.targets.shift else targets
        valid, target = prepare(
            targets,
            batched.get("attention_mask"),
            None,
            None,
            self.vocab_size,
            loss.config.targets.shift,
            model.ignore_index,
            model.eos_token_id,
            model.pad_token_id,
            "",
            [],
        )[:2]
        self.valid, self.target = valid.view(self.shape), target.view(self.shape)
        self.tensors = dict(self._look())

    def answer(self, **cut: Any) -> dict[str, float]:
        """Return the answer of the call, or of the call with some arguments replaced, as numbers."""
        from ava.run.loss import Loss

        with torch.no_grad():
            out = Loss.forward(self.loss, **{**self.inputs, **cut}, return_detailed=True)
        return {name: value.item() for name, value in out.items()}

    @property
    def linear(self) -> bool:
        """Whether the loss does the head itself."""
        return "logits" not in self.inputs

    def _sizes(self) -> tuple[tuple[int, int], int]:
        name = "hidden_states" if self.linear else "logits"
        lead = self.inputs[name].shape[:-1]
        width = self.inputs["lm_head"].shape[0] if self.linear else self.inputs["logits"].shape[-1]
        shape = (1, lead[0]) if len(lead) == 1 else (lead[0], lead[1])
        return shape, self.loss.config.model.vocab_size or width

    def _batched(self, name: str, value: Any) -> Any:
        """Return a tensor with ``[B, T]`` where its positions are."""
        if name in ("gate_logits", "expert_indices") and isinstance(value, (list, tuple)):
            return [self._placed(part) for part in value]
        if name == "expert_outputs" and isinstance(value, (list, tuple)):
            return torch.stack([self._placed(part) for part in value])
        if name in ("mtp_logits", "mtp_hidden_states", "expert_outputs"):
            whole = torch.stack(list(value)) if isinstance(value, (list, tuple)) else value
            return whole.reshape(whole.shape[0], *self.shape, whole.shape[-1])
        if name in (*_HIDDEN_BATCH, "gate_logits", "expert_indices"):
            return self._placed(value) if value.shape[:-1].numel() == math.prod(self.shape) else value
        return value if name in ("lm_head", "lm_head_bias", "num_items") else value.reshape(self.shape)

    def _placed(self, tensor: Tensor) -> Tensor:
        return tensor.reshape(*self.shape, tensor.shape[-1])

    def used(self, name: str) -> bool:
        """Return whether the call reads this argument."""
        if name in ("logits", "targets"):
            return True
        heads = self.loss.config.terms.mtp_loss
        if name.startswith("lm_head") and (self.linear or (heads is not None and heads.heads == "tied")):
            return True
        if name == "hidden_states" and self.linear:
            return True
        if heads is not None and (name.startswith("mtp_") or ("mtp_hidden_states" in self.inputs and "lm_" in name)):
            return True
        return name in self.loss.plan.inputs

    def _look(self) -> Iterator[tuple[str, Seen]]:
        for name, parameter in self.loss.named_parameters():
            yield name, _seen(name, parameter.detach(), None, ())
        order = ("lm_head", "lm_head_bias", "hidden_states", "logits", "mtp_hidden_states", "mtp_logits")
        for name in (*order, "gate_logits", "expert_outputs", "teacher_logits"):
            if name not in self.inputs or not self.used(name):
                continue
            value = self.inputs[name]
            for key, tensor in [(name, value)] if isinstance(value, Tensor) else _numbered(name, value):
                yield key, _seen(key, self._columns(name, tensor.detach()), *self._counting(name, tensor))
        for name in ("temperature", "expert_usage", "expert_bias"):
            buffer = self.loss.state._buffers.get(name)
            if buffer is not None:
                yield name, _seen(name, buffer, None, ())

    def _columns(self, name: str, tensor: Tensor) -> Tensor:
        """Leave out the columns of the vocabulary's padding."""
        if name in ("lm_head", "lm_head_bias"):
            return tensor[: self.vocab_size]
        return tensor[..., : self.vocab_size] if name.endswith("logits") and name != "gate_logits" else tensor

    def _counting(self, name: str, tensor: Tensor) -> tuple[Tensor | None, tuple[int, ...]]:
        """Return which entries count (without the last dimension), and the dimensions of row and position."""
        if name in ("lm_head", "lm_head_bias"):
            return None, ()
        mask = self.inputs.get("attention_mask")
        if name in ("gate_logits", "expert_outputs"):
            counts = torch.ones_like(self.valid) if mask is None else mask != 0
            return counts.expand(tensor.shape[:-1]), (tensor.ndim - 3, tensor.ndim - 2)
        if name.startswith("mtp_"):
            counts = torch.zeros(tensor.shape[:-1], dtype=torch.bool, device=tensor.device)
            for k in range(1, min(tensor.shape[0], self.shape[1] - 1) + 1):
                counts[k - 1, :, :-k] = self.valid[:, k:]
            return counts, (1, 2)
        everywhere = name == "hidden_states" and self.loss.config.terms.mtp_loss is not None
        return torch.ones_like(self.valid) if everywhere else self.valid, (0, 1)

    def logits_at(self, row: int, position: int) -> Tensor:
        """Return the logits of one position, ``[V]``, in their own dtype."""
        if not self.linear:
            logits: Tensor = self.inputs["logits"][row, position, : self.vocab_size].detach()
            return logits
        model, bias = self.loss.config.model, self.inputs.get("lm_head_bias")
        hidden = self.inputs["hidden_states"][row, position].detach()
        made = head_logits(hidden, self.inputs["lm_head"].detach(), bias, model.logit_scale, model.logit_softcap)
        return made[: self.vocab_size].detach()

    def first_position(self, key: str) -> tuple[int, int] | None:
        """Return the first row and position whose part of the answer ``key`` is not finite.

        A row is looked at by itself, and the start of a row without the rest: no term looks across rows, and none
        but the future-token heads looks ahead.
        """

        def wrong(rows: slice, length: int) -> bool:
            cut = {name: _cut(name, value, rows, length) for name, value in self.inputs.items()}
            value = self.answer(**{**cut, "num_items": None}).get(key, 0.0)
            return not math.isfinite(value)

        batch, length = self.shape
        row = _first(lambda count: wrong(slice(0, count), length), batch)
        if row is None:
            return None
        end = _first(lambda count: wrong(slice(row, row + 1), count), length)
        if end is None:
            return None
        return row, max(end - int(self.loss.config.targets.shift), 0)

    def bad_gradients(self) -> dict[str, Place]:
        """Return the first entry that is not finite of each argument's gradient that has one."""
        from ava.run.loss import Loss

        leaves = {
            name: value.detach().clone().requires_grad_()
            for name, value in self.inputs.items()
            if isinstance(value, Tensor) and value.is_floating_point() and self.used(name) and "teacher" not in name
        }
        with torch.enable_grad():
            total = Loss.forward(self.loss, **{**self.inputs, **leaves})
            found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        bad = {}
        for name, gradient in zip(leaves, found, strict=True):
            if gradient is not None:
                place = _seen(f"gradient of {name}", gradient, None, self._counting(name, leaves[name])[1]).bad
                if place is not None:
                    bad[name] = place
        return bad


def examine(loss: Loss, inputs: dict[str, Any]) -> Examined:
    """Return the call, looked at.

    Raises:
        ArgumentValueError, ArgumentTypeError: what the call itself would raise.
    """
    if inputs.get("targets") is None:
        raise ArgumentValueError("`targets` should be an integer tensor [B, T], but is None.")
    return Examined(loss, inputs)


def _twin(loss: Loss) -> Loss:
    """Return an uncompiled loss in evaluation mode, with the same parameters, a copy of the state, and no hooks."""
    twin = copy.copy(loss)
    twin.__dict__.update(
        config=Config.load(loss.config, overrides=_ALONE),
        _modules={**loss._modules, "state": copy.deepcopy(loss.state)},
        _forward_hooks=OrderedDict(),
        _forward_pre_hooks=OrderedDict(),
        training=False,
        _told={planned.name for planned in loss.plan.terms},
    )
    twin.__dict__["plan"] = Plan(twin.config)
    return twin


def _numbered(name: str, values: Any) -> Iterator[tuple[str, Tensor]]:
    yield from ((f"{name}[{index}]", value) for index, value in enumerate(values))


def _seen(name: str, tensor: Tensor, counts: Tensor | None, places: tuple[int, ...]) -> Seen:
    """Look for the first entry that should be finite and is not; ``-inf`` is legal in logits."""
    finite = tensor.isfinite()
    fine = finite | (tensor == -math.inf) if name.partition("[")[0] in _MASKED else finite
    if counts is not None:
        fine, finite = fine | ~counts[..., None], finite & counts[..., None]
    low, high = math.inf, -math.inf
    if bool(finite.any()):
        low = tensor.where(finite, math.inf).min().item()
        high = tensor.where(finite, -math.inf).max().item()
    bad = None
    if not bool(fine.all()):
        index = tuple(int(i) for i in (~fine).nonzero()[0])
        row, position = (index[places[0]], index[places[1]]) if places else (None, None)
        bad = Place(name, index, row, position, tensor[index].item())
    return Seen(tensor, bad, low, high)


def _first(wrong: Callable[[int], bool], size: int) -> int | None:
    """Return ``i`` where ``wrong(i + 1)`` is the first that holds, ``wrong`` being monotone; None where none does."""
    if not wrong(size):
        return None
    low, high = 0, size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if wrong(middle) else (middle, high)
    return high - 1


def _cut(name: str, value: Any, rows: slice, length: int) -> Any:
    if name in ("lm_head", "lm_head_bias", "num_items"):
        return value
    if isinstance(value, list):
        return [part[rows, :length] for part in value]
    if name in ("mtp_logits", "mtp_hidden_states", "expert_outputs"):
        return value[:, rows, :length]
    return value[rows, :length] if value.ndim < 4 else value[:, rows, :length]
