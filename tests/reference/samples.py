"""Seeded inputs for tests: logits of several characters, repetitive targets, masks, packed rows, experts, teachers.

`sample(seed, …)` makes one `Sample`; `CASES` names the combinations worth running every law on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

LogitKind = Literal["random", "peaked", "repeating", "certain", "uniform"]
Padding = Literal["none", "left", "right"]

FLOAT_INPUTS = (
    "logits",
    "hidden_states",
    "lm_head",
    "lm_head_bias",
    "mtp_logits",
    "mtp_hidden_states",
    "gate_logits",
    "expert_outputs",
)
"""Inputs that a gradient may reach; `teacher_logits` is detached by definition."""


@dataclass(frozen=True)
class Sample:
    """`inputs` are `Loss.forward` keywords; `model` and `shift` go into the configuration."""

    inputs: dict[str, Any]
    model: dict[str, Any] = field(default_factory=dict)
    shift: bool = False

    def config(self, terms: Mapping[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
        """A resolved configuration for this sample with the terms given."""
        return {
            "version": 1,
            "model": dict(self.model),
            "targets": {"shift": self.shift},
            "terms": dict(terms or {}),
            **sections,
        }

    def only(self, *names: str) -> dict[str, Any]:
        """The inputs of these names, those that are there."""
        return {name: self.inputs[name] for name in names if name in self.inputs}

    def without(self, *names: str) -> Sample:
        """The sample less these inputs."""
        return Sample({k: v for k, v in self.inputs.items() if k not in names}, self.model, self.shift)

    def leaves(self, dtype: torch.dtype | None = None, device: str | torch.device = "cpu") -> Sample:
        """A fresh copy: float inputs as leaves that require a gradient, in `dtype`, everything on `device`."""

        def fresh(name: str, value: Any) -> Any:
            if isinstance(value, list | tuple):
                return [fresh(name, item) for item in value]
            if not isinstance(value, Tensor):
                return value
            moved = value.detach().clone().to(device)
            if dtype is not None and moved.is_floating_point():
                moved = moved.to(dtype)
            return moved.requires_grad_() if name in FLOAT_INPUTS else moved

        return Sample({name: fresh(name, value) for name, value in self.inputs.items()}, self.model, self.shift)


def generator(seed: int) -> torch.Generator:
    """A CPU generator of this seed."""
    return torch.Generator().manual_seed(seed)


def normal(rng: torch.Generator, *shape: int, scale: float = 1.0) -> Tensor:
    """Float64 normal numbers rounded to bfloat16, so that float32 and bfloat16 hold them exactly."""
    return (torch.randn(*shape, generator=rng, dtype=torch.float64) * scale).bfloat16().double()


def repetitive_tokens(rng: torch.Generator, batch: int, length: int, vocab: int, distinct: int = 3) -> Tensor:
    """`[B, T]` of few distinct tokens, copied forward now and then: runs and repeated n-grams occur."""
    kinds = torch.randperm(vocab, generator=rng)[: max(1, min(distinct, vocab))]
    tokens = kinds[torch.randint(len(kinds), (batch, length), generator=rng)]
    for b in range(batch):
        if length >= 8:
            tokens[b, length // 2 : 2 * (length // 2)] = tokens[b, : length // 2]
        elif length >= 3:
            tokens[b, 1] = tokens[b, 0]
    return tokens


def logits(
    rng: torch.Generator, targets: Tensor, vocab: int, kind: LogitKind = "random", context: Tensor | None = None
) -> Tensor:
    """`[B, T, V]`: `random`; `peaked` on the targets (trained); `repeating` the context; `certain` of it; `uniform`."""
    batch, length = targets.shape
    x = normal(rng, batch, length, vocab, scale=2.0)
    if kind == "uniform":
        return torch.zeros_like(x)
    if kind == "peaked":
        favoured, gap = targets.clamp(0, vocab - 1), 8.0
    elif kind in ("repeating", "certain"):
        previous = torch.cat([targets[:, :1], targets[:, :-1]], dim=1) if context is None else context
        favoured, gap = previous.clamp(0, vocab - 1), 6.0 if kind == "repeating" else 60.0
    else:
        return x
    added = x.scatter_add(2, favoured.unsqueeze(2), torch.full((batch, length, 1), gap, dtype=x.dtype))
    return added.bfloat16().double()


def ignore(rng: torch.Generator, targets: Tensor, share: float = 0.2, ignore_index: int = -100) -> Tensor:
    """The targets with about this share ignored, at least one of them if `share` > 0 and there are two or more."""
    drawn = torch.rand(targets.shape, generator=rng) < share
    if share > 0 and targets.numel() > 1 and not bool(drawn.any()):
        drawn.view(-1)[-1] = True
    if bool(drawn.all()):
        drawn.view(-1)[0] = False
    return targets.masked_fill(drawn, ignore_index)


def padding_mask(rng: torch.Generator, batch: int, length: int, side: Padding) -> Tensor | None:
    """`[B, T]` of 0 and 1; the first row is whole, the others lose up to half."""
    if side == "none":
        return None
    mask = torch.ones(batch, length, dtype=torch.long)
    for b in range(1 if batch > 1 else 0, batch):
        lost = int(torch.randint(1, max(2, length // 2 + 1), (1,), generator=rng)) if length > 1 else 0
        if lost and side == "left":
            mask[b, :lost] = 0
        elif lost:
            mask[b, length - lost :] = 0
    return mask


def packed_ids(rng: torch.Generator, batch: int, length: int) -> Tensor:
    """`[B, T]` document numbers: each row cut into documents of two to six tokens."""
    rows = torch.zeros(batch, length, dtype=torch.long)
    for b in range(batch):
        start, document = 0, 0
        while start < length:
            size = int(torch.randint(2, 7, (1,), generator=rng))
            rows[b, start : start + size] = document
            start, document = start + size, document + 1
    return rows


def sample(
    seed: int = 0,
    *,
    batch: int = 2,
    length: int = 12,
    vocab: int = 11,
    kind: LogitKind = "random",
    distinct: int = 3,
    ignored: float = 0.2,
    ignore_index: int = -100,
    padding: Padding = "none",
    eos: int | None = None,
    pad: int | None = None,
    packed: Literal["no", "eos", "ids"] = "no",
    with_input_ids: bool = False,
    shift: bool = False,
    padded_vocab: int | None = None,
    hidden: int = 0,
    head: bool = False,
    head_bias: bool = False,
    mtp: int = 0,
    mtp_hidden: bool = False,
    experts: int = 0,
    layers: int = 0,
    top_k: int = 2,
    with_indices: bool = True,
    teacher: bool = False,
    num_items: float | None = None,
    minus_infinity: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Sample:
    """One seeded call. `layers` 0 means a single gate tensor; `head` means hidden states and `lm_head`, no logits.

    `minus_infinity` sets that many columns, the targets' apart, to −inf in each row of the logits.
    """
    rng = generator(seed)
    width = padded_vocab or vocab
    tokens = repetitive_tokens(rng, batch, length + 1, vocab, distinct)
    ids = packed_ids(rng, batch, length) if packed == "ids" else None
    if packed == "eos":
        if eos is None:
            raise ValueError("packed='eos' needs eos")
        ends = packed_ids(rng, batch, length + 1)
        tokens[:, :-1] = tokens[:, :-1].masked_fill(ends[:, 1:] != ends[:, :-1], eos)
    sequence = tokens[:, :length]
    aligned = sequence if shift else tokens[:, 1:]
    mask = padding_mask(rng, batch, length, padding)
    targets = ignore(rng, aligned, ignored, ignore_index) if ignored else aligned.clone()
    if pad is not None:
        sequence, targets = sequence.clone(), targets.clone()
        gone = torch.zeros(batch, length, dtype=torch.bool) if mask is None else mask == 0
        if mask is None and length > 2:
            gone[-1, -2:] = True
        sequence[gone], targets[gone] = pad, pad

    inputs: dict[str, Any] = {"targets": targets}
    if mask is not None:
        inputs["attention_mask"] = mask
    if with_input_ids:
        inputs["input_ids"] = sequence.clone()
    if ids is not None:
        inputs["segment_ids"] = ids
    if num_items is not None:
        inputs["num_items"] = torch.tensor(num_items, dtype=torch.float32)

    # what x[b, t] should predict, so that `peaked` is peaked in the shifted frame too
    goal = torch.cat([aligned[:, 1:], aligned[:, -1:]], dim=1) if shift else aligned
    if hidden:
        inputs["hidden_states"] = normal(rng, batch, length, hidden)
    if head or mtp_hidden:
        inputs["lm_head"] = normal(rng, width, hidden, scale=hidden**-0.5)
    if head_bias:
        inputs["lm_head_bias"] = normal(rng, width, scale=0.1)
    if not head:
        inputs["logits"] = logits(rng, goal, width, kind, sequence)
        for _ in range(minus_infinity):
            column = torch.randint(width, (batch, length, 1), generator=rng)
            safe = goal.clamp(0, width - 1).unsqueeze(2)
            column = torch.where(column == safe, (column + 1) % width, column)
            inputs["logits"] = inputs["logits"].scatter(2, column, -torch.inf)
    if mtp:
        inputs["mtp_logits"] = normal(rng, mtp, batch, length, width, scale=2.0)
    if mtp_hidden:
        inputs["mtp_hidden_states"] = normal(rng, mtp or 3, batch, length, hidden)
        inputs.pop("mtp_logits", None)
    if experts:
        gates = [normal(rng, batch, length, experts, scale=1.5) for _ in range(max(1, layers))]
        inputs["gate_logits"] = gates if layers else gates[0]
        if with_indices:
            chosen = [torch.topk(gate, min(top_k, experts), dim=-1).indices for gate in gates]
            inputs["expert_indices"] = chosen if layers else chosen[0]
        inputs["expert_outputs"] = normal(rng, experts, batch, length, hidden or 5)
    if teacher:
        inputs["teacher_logits"] = normal(rng, batch, length, width, scale=2.0)
    for name, value in inputs.items():
        if isinstance(value, Tensor) and value.is_floating_point() and name != "num_items":
            inputs[name] = value.to(dtype)
        elif isinstance(value, list) and value[0].is_floating_point():
            inputs[name] = [item.to(dtype) for item in value]

    model: dict[str, Any] = {"vocab_size": vocab, "ignore_index": ignore_index}
    optional = {
        "padded_vocab_size": padded_vocab,
        "hidden_size": hidden or None,
        "eos_token_id": eos,
        "pad_token_id": pad,
        "num_experts": experts or None,
        "top_k": top_k if experts else None,
    }
    model.update({name: value for name, value in optional.items() if value is not None})
    return Sample(inputs, model, shift)


def split_batch(whole: Sample) -> list[Sample]:
    """One sample for each row of the batch, for laws of accumulation."""

    def cut(name: str, value: Any, b: int) -> Any:
        if isinstance(value, list | tuple):
            return [cut(name, item, b) for item in value]
        if name in ("mtp_logits", "mtp_hidden_states", "expert_outputs"):
            return value[:, b : b + 1]
        if name in ("lm_head", "lm_head_bias", "num_items"):
            return value
        return value[b : b + 1]

    batch = whole.inputs["targets"].shape[0]
    return [
        Sample({name: cut(name, value, b) for name, value in whole.inputs.items()}, whole.model, whole.shift)
        for b in range(batch)
    ]


def ignore_all(whole: Sample) -> Sample:
    """The same call with every target ignored."""
    targets = torch.full_like(whole.inputs["targets"], whole.model.get("ignore_index", -100))
    return Sample({**whole.inputs, "targets": targets}, whole.model, whole.shift)


CASES: dict[str, Callable[[], Sample]] = {
    "random": lambda: sample(0),
    "peaked": lambda: sample(1, kind="peaked"),
    "repeating": lambda: sample(2, kind="repeating", distinct=2),
    "certain": lambda: sample(3, kind="certain", distinct=2),
    "uniform": lambda: sample(4, kind="uniform"),
    "all_valid": lambda: sample(5, ignored=0.0),
    "mostly_ignored": lambda: sample(6, ignored=0.9),
    "padding_right": lambda: sample(7, padding="right", with_input_ids=True, batch=3),
    "padding_left": lambda: sample(8, padding="left", with_input_ids=True, batch=3),
    "padding_no_ids": lambda: sample(9, padding="right", batch=3),
    "pad_token": lambda: sample(10, padding="right", pad=0, eos=1, batch=3),
    "pad_is_eos": lambda: sample(11, padding="right", pad=1, eos=1, batch=3),
    "pad_no_eos": lambda: sample(12, pad=0, with_input_ids=True),
    "eos_segments": lambda: sample(13, packed="eos", eos=2, length=20),
    "eos_segments_ids": lambda: sample(14, packed="eos", eos=2, length=20, with_input_ids=True),
    "segment_ids": lambda: sample(15, packed="ids", eos=2, length=20),
    "segment_ids_input_ids": lambda: sample(16, packed="ids", length=20, with_input_ids=True),
    "shift": lambda: sample(17, shift=True, length=13),
    "shift_input_ids": lambda: sample(18, shift=True, with_input_ids=True, length=13),
    "shift_padding": lambda: sample(19, shift=True, padding="left", batch=3, length=13, with_input_ids=True),
    "shift_eos": lambda: sample(20, shift=True, packed="eos", eos=2, length=21),
    "shift_segment_ids": lambda: sample(21, shift=True, packed="ids", length=21, batch=4),
    "padded_vocab": lambda: sample(22, vocab=11, padded_vocab=16),
    "minus_infinity": lambda: sample(23, minus_infinity=3),
    "num_items": lambda: sample(24, num_items=37.0),
    "vocab_7": lambda: sample(25, vocab=7, batch=3, length=5),
    "one_token": lambda: sample(26, length=1, batch=3, ignored=0.0),
    "one_row": lambda: sample(27, batch=1, length=9),
    "one_row_one_token": lambda: sample(28, batch=1, length=1, ignored=0.0),
    "short_row": lambda: sample(29, batch=1, length=3, ignored=0.0),
    "odd_shape": lambda: sample(30, batch=3, length=7, vocab=13),
    "long_row": lambda: sample(31, batch=1, length=60, vocab=5, distinct=2, eos=4),
    "nothing_valid": lambda: ignore_all(sample(32, eos=2)),
    "ignore_index_zero": lambda: sample(33, ignore_index=0),
}
"""Cases of the terms on the vocabulary."""

EXTRA_CASES: dict[str, Callable[[], Sample]] = {
    "head": lambda: sample(50, hidden=6, head=True),
    "head_bias": lambda: sample(51, hidden=6, head=True, head_bias=True, padded_vocab=16),
    "head_shift": lambda: sample(52, hidden=6, head=True, shift=True, length=13),
    "hidden": lambda: sample(53, hidden=6, batch=3),
    "hidden_shift": lambda: sample(54, hidden=6, shift=True, length=13),
    "mtp": lambda: sample(55, mtp=3),
    "mtp_shift": lambda: sample(56, mtp=2, shift=True, length=13),
    "mtp_packed": lambda: sample(57, mtp=3, packed="ids", length=20),
    "mtp_short": lambda: sample(58, mtp=3, length=2, ignored=0.0),
    "mtp_hidden": lambda: sample(59, hidden=6, head=True, mtp=3, mtp_hidden=True),
    "experts": lambda: sample(60, experts=4),
    "experts_layers": lambda: sample(61, experts=4, layers=3, padding="right", batch=3),
    "experts_shift": lambda: sample(62, experts=4, layers=2, shift=True, padding="left", batch=3, length=9),
    "experts_default": lambda: sample(63, experts=5, with_indices=False),
    "one_expert": lambda: sample(64, experts=1, top_k=1),
    "teacher": lambda: sample(65, teacher=True),
    "teacher_shift": lambda: sample(66, teacher=True, shift=True, length=13),
    "everything": lambda: sample(
        67, hidden=6, mtp=3, experts=4, layers=2, teacher=True, eos=2, packed="eos", length=16, with_input_ids=True
    ),
}
"""Cases of the terms with inputs of their own."""
