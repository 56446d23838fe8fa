"""Synthetic tensors: what a model in a given state would hand to the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum

import torch
from torch import Tensor

from ava.config import Model
from ava.errors import ArgumentValueError
from ava.plan import Plan
from ava.plan.plan import Engine

__all__ = ["Scenario", "draw"]


class Scenario(StrEnum):
    """The state of the model, or the layout of the batch."""

    RANDOM = "random"
    TRAINED = "trained"
    REPETITIVE = "repetitive"
    COLLAPSED = "collapsed"
    PACKED = "packed"
    PADDED = "padded"
    BALANCED = "balanced"
    SKEWED = "skewed"


class _Draw:
    """One batch in the making; everything is drawn on the CPU in float32, so that a seed means one batch."""

    def __init__(self, plan: Plan, scenario: Scenario, batch: int, length: int, seed: int, engine: Engine) -> None:
        self.plan, self.model, self.scenario = plan, plan.config.model, scenario
        self.shape = (batch, length)
        self.generator = torch.Generator().manual_seed(seed)
        self.size = self.model.vocab_size or 0
        self.width = self.model.padded_vocab_size or self.size
        self.words = _ordinary(self.model, self.size)
        self.peak = math.log(self.size) + 0.5  # the logsumexp of standard normal logits
        self.head: Tensor | None = None
        if engine == "linear":
            hidden = self.model.hidden_size or 1
            self.head = self.normal(self.width, hidden) / hidden**0.5

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, max(high, low + 1), shape, generator=self.generator)

    def rows(self, peaks: int = 0) -> dict[str, Tensor]:
        """Return standard normal logits, or hidden states and a head that make such.

        Hidden states that point to a word also point a little to all others: with ``peaks`` to come, they start
        smaller, so that the logits of the rest keep their spread.
        """
        if self.head is None:
            return {"logits": self.normal(*self.shape, self.width)}
        hidden = self.head.shape[1]
        spread = max(1 - peaks * self.peak**2 / hidden, 0.1) ** 0.5
        return {"hidden_states": spread * self.normal(*self.shape, hidden), "lm_head": self.head}

    def set(self, drawn: dict[str, Tensor], columns: Tensor, value: Tensor | float) -> None:
        """Give one column a position, ``[B, T]``, the logit ``value``."""
        wanted = torch.as_tensor(value).expand(self.shape)[..., None]
        if self.head is None:
            drawn["logits"].scatter_(2, columns[..., None], wanted)
            return
        towards = self.head[columns]
        lacking = wanted - (drawn["hidden_states"] * towards).sum(2, keepdim=True)
        drawn["hidden_states"] += lacking * towards / towards.square().sum(2, keepdim=True).clamp(min=1e-6)

    def tokens(self, words: Tensor) -> Tensor:
        return words[self.integers(0, len(words), *self.shape)]

    @property
    def shift(self) -> bool:
        return self.plan.config.targets.shift

    def predicted(self, targets: Tensor) -> Tensor:
        """Return the token that each position predicts, some token where there is none."""
        return (targets.roll(-1, 1) if self.shift else targets).clamp(0, self.size - 1)


def draw(
    plan: Plan,
    scenario: Scenario,
    *,
    batch: int,
    length: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    seed: int = 0,
    engine: Engine = "logits",
) -> dict[str, Tensor]:
    """Return the arguments of a call of the loss: logits, targets, and whatever its terms need.

    For the engine ``linear``, hidden states and the head's weight stand in for the logits.

    ``random`` has normal logits and uniform targets. ``trained`` predicts most targets. In ``repetitive`` the model
    read a phrase over and over, and its logits go on with it, while the targets do not; ``collapsed`` predicts one
    token everywhere, the end-of-sequence token if there is one. ``packed`` has several documents in a row,
    ``padded`` rows that end early. ``balanced`` and ``skewed`` are ``random`` with a router that spreads its tokens
    evenly, or sends nearly all to one expert.

    Floating-point tensors are leaves that want a gradient, but for the teacher's.

    Raises:
        ArgumentValueError: a term needs an argument that cannot be drawn.
    """
    making = _Draw(plan, scenario, batch, length, seed, engine)
    drawn = _LAYOUTS.get(scenario, _random)(making)
    for name in _inputs(plan):
        if name in drawn:
            continue
        if name not in _INPUTS:
            needed = ", ".join(planned.name for planned in plan.terms if name in planned.needs.inputs)
            raise ArgumentValueError(f"a dry run cannot draw the argument `{name}` that {needed or 'a term'} needs")
        drawn[name] = _INPUTS[name](making, drawn)
    placed = {}
    for name, tensor in drawn.items():
        floating = tensor.is_floating_point()
        placed[name] = tensor.to(device=device, dtype=dtype if floating else tensor.dtype)
        if floating and name != "teacher_logits":
            placed[name].requires_grad_()
    return placed


def _inputs(plan: Plan) -> list[str]:
    names = list(plan.inputs)
    for planned in plan.terms:
        missing = getattr(planned.term, "missing", None)
        name = missing(set(names)) if missing is not None else None
        while name is not None and name not in names:
            names.append(name)
            name = missing(set(names)) if missing is not None else None
    return names


def _ordinary(model: Model, size: int) -> Tensor:
    special = {model.eos_token_id, model.pad_token_id, model.ignore_index}
    words = [token for token in range(size) if token not in special]
    return torch.tensor(words or [0], dtype=torch.int64)


def _random(making: _Draw) -> dict[str, Tensor]:
    return {**making.rows(), "targets": making.tokens(making.words)}


def _trained(making: _Draw) -> dict[str, Tensor]:
    drawn = {**making.rows(1), "targets": making.tokens(making.words)}
    sure = making.peak + 0.5 + 1.5 * making.normal(*making.shape)
    making.set(drawn, making.predicted(drawn["targets"]), sure)
    return drawn


def _repetitive(making: _Draw) -> dict[str, Tensor]:
    """The context is one phrase, repeated; it begins with a run long enough for the immediate penalty."""
    terms = making.plan.config.terms
    run = terms.immediate_repetition_penalty.threshold if terms.immediate_repetition_penalty else 2
    size, window = (terms.ngram_penalty.size, terms.ngram_penalty.window) if terms.ngram_penalty else (4, 50)
    period = min(max(run + 2, size), window)
    half = max(len(making.words) // 2, 1)
    own, others = making.words[:half], making.words[half:]
    phrases = own[making.integers(0, len(own), making.shape[0], period)]
    phrases[:, :run] = phrases[:, :1]
    place = torch.arange(making.shape[1]) % period
    context, following = phrases[:, place], phrases[:, (place + 1) % period]
    targets = making.tokens(others if len(others) else making.words)
    drawn = making.rows(2)
    for columns in (context, following):
        making.set(drawn, columns, making.peak + 1.5)
    return {**drawn, "targets": targets, "input_ids": context}


def _collapsed(making: _Draw) -> dict[str, Tensor]:
    drawn = {**making.rows(1), "targets": making.tokens(making.words)}
    eos = making.model.eos_token_id
    token = int(making.words[0]) if eos is None else eos
    making.set(drawn, torch.full(making.shape, token), making.peak + 6.0)
    return drawn


def _packed(making: _Draw) -> dict[str, Tensor]:
    drawn = _random(making)
    longest = max(making.shape[1] // 2, 2)
    ends = making.integers(0, longest, *making.shape) == 0
    ends[:, longest - 1 :: longest] = True
    eos = making.model.eos_token_id
    if eos is not None:
        drawn["targets"][ends] = eos
        return drawn
    drawn["segment_ids"] = ends.long().cumsum(1) - ends.long()
    return drawn


def _padded(making: _Draw) -> dict[str, Tensor]:
    drawn = _random(making)
    length = making.shape[1]
    lengths = making.integers(max(length // 4, 1), length + 1, making.shape[0])
    mask = torch.arange(length) < lengths[:, None]
    drawn["targets"][~mask] = making.model.ignore_index
    drawn["attention_mask"] = mask.long()
    return drawn


_LAYOUTS: dict[Scenario, Callable[[_Draw], dict[str, Tensor]]] = {
    Scenario.TRAINED: _trained,
    Scenario.REPETITIVE: _repetitive,
    Scenario.COLLAPSED: _collapsed,
    Scenario.PACKED: _packed,
    Scenario.PADDED: _padded,
}


def _gates(making: _Draw, _: dict[str, Tensor]) -> Tensor:
    experts = making.model.num_experts or 1
    gates = making.normal(*making.shape, experts)
    if making.scenario is Scenario.BALANCED:
        turn = torch.arange(making.shape[0] * making.shape[1]).view(making.shape) % experts
        for step in range(min(making.model.top_k, experts)):
            gates.scatter_(2, ((turn + step) % experts)[..., None], 6.0)
    elif making.scenario is Scenario.SKEWED:
        gates[..., 0] += 4.0
    return gates


def _chosen(making: _Draw, drawn: dict[str, Tensor]) -> Tensor:
    gates = drawn["gate_logits"] if "gate_logits" in drawn else _gates(making, drawn)
    return gates.detach().topk(min(making.model.top_k, gates.shape[-1]), -1).indices


def _teacher(making: _Draw, drawn: dict[str, Tensor]) -> Tensor:
    logits = making.normal(*making.shape, making.width)
    return logits.scatter_(2, making.predicted(drawn["targets"])[..., None], making.peak + 1.0)


def _hidden(making: _Draw, *_: object) -> Tensor:
    return making.normal(*making.shape, making.model.hidden_size or 1)


def _futures(making: _Draw) -> int:
    term = getattr(making.plan.config.terms, "mtp_loss", None)
    return int(getattr(term, "num_future_tokens", 1))


_INPUTS: dict[str, Callable[[_Draw, dict[str, Tensor]], Tensor]] = {
    "hidden_states": _hidden,
    "lm_head": lambda making, _: (
        making.normal(making.width, making.model.hidden_size or 1) / (making.model.hidden_size or 1) ** 0.5
    ),
    "lm_head_bias": lambda making, _: torch.zeros(making.width),
    "mtp_logits": lambda making, _: making.normal(_futures(making), *making.shape, making.width),
    "mtp_hidden_states": lambda making, _: making.normal(
        _futures(making), *making.shape, making.model.hidden_size or 1
    ),
    "gate_logits": _gates,
    "expert_indices": _chosen,
    "expert_outputs": lambda making, _: making.normal(
        making.model.num_experts or 1, *making.shape, making.model.hidden_size or 1
    ),
    "teacher_logits": _teacher,
}
