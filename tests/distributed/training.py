"""A small model with its loss, trained for some steps: by one process on the whole batch, or by ranks on their rows."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from ava import Loss
from ava.integrations.distributed import window_items

ROWS, LENGTH, VOCAB, WIDTH, EXPERTS, EOS = 6, 12, 17, 8, 8, 0
PRESETS = ("standard", "moe", "anti_repetition", "mtp", "fast_prototype", "production")


class Model(nn.Module):
    """Tokens to the arguments of ``Loss.forward``: logits, and what the preset's terms need."""

    def __init__(self, preset: str) -> None:
        super().__init__()
        self.preset = preset
        self.embedding = nn.Embedding(VOCAB, WIDTH)
        self.mixed = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, VOCAB)
        self.gate = nn.Linear(WIDTH, EXPERTS) if preset == "moe" else None
        self.experts = nn.Linear(WIDTH, EXPERTS * WIDTH) if preset == "moe" else None

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        hidden = self.mixed(self.embedding(tokens)).tanh()
        out = {"logits": self.head(hidden)}
        if self.gate is not None and self.experts is not None:
            out["gate_logits"] = self.gate(hidden)
            out["expert_outputs"] = self.experts(hidden).unflatten(-1, (EXPERTS, WIDTH)).permute(2, 0, 1, 3)
        if self.preset == "mtp":
            out["hidden_states"] = hidden
        return out


class Trained(nn.Module):
    """A model with its loss, as one module, so that what wraps it averages the gradients of both."""

    def __init__(self, preset: str, settings: Mapping[str, Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        size = {"hidden_size": WIDTH} if preset == "mtp" else {}
        self.model = Model(preset)
        overrides = {"compile.enabled": False, **settings}
        if preset in ("standard", "production", "anti_repetition"):
            overrides["terms.eos_penalty.min_length"] = 4
        if preset in ("standard", "production", "anti_repetition", "moe", "mtp"):
            overrides["terms.ngram_penalty.size"] = 2
        self.loss = Loss.load(preset, overrides=overrides, vocab_size=VOCAB, eos_token_id=EOS, **size)
        self.double()

    def forward(self, batch: Mapping[str, Tensor], num_items: Tensor | None = None) -> Tensor:
        given = self.model(batch["tokens"])
        loss: Tensor = self.loss(
            **given, targets=batch["targets"], attention_mask=batch["attention_mask"], num_items=num_items
        )
        return loss


@dataclass(frozen=True)
class Job:
    """What to train, and how.

    ``first_rows`` is how many rows of each batch rank 0 takes; ``nothing`` leaves the other rank without a valid
    position. ``items`` gives ``num_items`` to each call. ``micro`` is the micro-batches of a step.
    """

    preset: str
    wrap: str = "ddp"
    steps: int = 13
    start: int = 0
    first_rows: int = 4
    nothing: bool = False
    items: bool = False
    micro: int = 1
    settings: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] | None = None


@dataclass(frozen=True)
class Outcome:
    """What training came to: losses by step, gradients of the first step, parameters, and the loss's state."""

    losses: list[float]
    gradients: dict[str, Tensor]
    parameters: dict[str, Tensor]
    state: dict[str, Tensor]


def batch_of(step: int, job: Job) -> dict[str, Tensor]:
    """The whole batch of a step: rows of unequal length, with repetitions."""
    rng = torch.Generator().manual_seed(1000 + step)
    tokens = torch.randint(1, 5, (ROWS, LENGTH + 1), generator=rng)
    tokens[:, 5] = EOS
    tokens[:, 8:] += torch.randint(0, VOCAB - 5, (ROWS, 1), generator=rng)
    lengths = torch.randint(3, LENGTH + 1, (ROWS, 1), generator=rng)
    if job.nothing:
        lengths[job.first_rows :] = 0
    mask = torch.arange(LENGTH)[None] < lengths
    return {"tokens": tokens[:, :-1], "targets": tokens[:, 1:].clone(), "attention_mask": mask.long()}


def rows_of(batch: Mapping[str, Tensor], job: Job, rank: int | None) -> list[dict[str, Tensor]]:
    """The micro-batches of one rank, or of all rows (rank None)."""
    rows = torch.arange(ROWS)
    if rank is not None:
        rows = rows[: job.first_rows] if rank == 0 else rows[job.first_rows :]
    pieces = rows.tensor_split(job.micro)
    return [{name: value[piece] for name, value in batch.items()} for piece in pieces]


def whole(value: Tensor) -> Tensor:
    """A plain tensor, gathered if it is sharded."""
    return (value.full_tensor() if hasattr(value, "full_tensor") else value).detach().clone()


def train(job: Job, rank: int | None = None) -> Outcome:
    """Train for some steps of plain gradient descent."""
    trained = Trained(job.preset, job.settings)
    if job.state is not None:
        trained.load_state_dict(job.state)
    step: nn.Module = trained
    if rank is not None and job.wrap == "ddp":
        step = DistributedDataParallel(trained, broadcast_buffers=False)
    elif rank is not None:
        fully_shard(trained.model)
        fully_shard(trained)
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.2)
    losses, first = [], {}
    for number in range(job.start, job.start + job.steps):
        pieces = rows_of(batch_of(number, job), job, rank)
        items = window_items(trained.loss, pieces) if job.items else None
        total = 0.0
        for index, piece in enumerate(pieces):
            last = index == len(pieces) - 1
            with contextlib.ExitStack() as stack:
                if isinstance(step, DistributedDataParallel) and not last:
                    stack.enter_context(step.no_sync())
                elif rank is not None and job.wrap == "fsdp2":
                    trained.set_requires_gradient_sync(last)
                loss = step(piece, items)
                loss.backward()
            total += loss.item()
        if not first:
            first = {name: whole(p.grad) for name, p in trained.named_parameters() if p.grad is not None}
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
    parameters = {name: whole(p) for name, p in trained.named_parameters()}
    return Outcome(losses, first, parameters, {name: b.clone() for name, b in trained.loss.named_buffers()})


def train_rank(job: Job) -> Outcome:
    """Train as one of the ranks."""
    return train(job, torch.distributed.get_rank())


def saved(outcome: Outcome) -> dict[str, Tensor]:
    """The checkpoint of a :class:`Trained` after training."""
    state = {f"loss.{name}": value for name, value in outcome.state.items() if name.startswith("state.")}
    return {**outcome.parameters, **state}


def one_process(job: Job) -> Outcome:
    """The same job without ranks: the whole batch in one process."""
    return train(replace(job, micro=1, items=False))
