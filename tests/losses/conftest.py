"""What the guide's snippets take for granted: a model, its outputs, a tokenizer, a batch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

VOCABULARY, HIDDEN, EXPERTS = 50257, 768, 8  # as in the guide
ROWS, LENGTH = 2, 6


class TinyModel(nn.Module):
    """A mixture-of-experts language model, as small as one can be, with the outputs of a Hugging Face one."""

    def __init__(self, vocab_size: int, hidden_size: int, experts: int = EXPERTS) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, hidden_size)
        self.gate = nn.Linear(hidden_size, experts, bias=False)
        self.experts = nn.Parameter(torch.randn(experts, hidden_size, hidden_size) * hidden_size**-0.5)
        self.head = nn.Linear(hidden_size, vocab_size, bias=False)
        self.run: Any = lambda function, *arguments: function(*arguments)

    def gradient_checkpointing_enable(self) -> None:
        """Compute the experts again in the backward pass."""
        self.run = partial(checkpoint, use_reentrant=False)

    def forward(
        self, input_ids: Tensor, labels: Tensor, attention_mask: Tensor, output_hidden_states: bool = False
    ) -> SimpleNamespace:
        first = self.embedding(input_ids)
        gate_logits = self.gate(first)
        weights, expert_indices = gate_logits.softmax(-1).topk(2, -1)
        expert_outputs = self.run(torch.einsum, "bth,ehg->ebtg", first, self.experts)
        chosen = torch.zeros_like(gate_logits).scatter(-1, expert_indices, weights)
        last = first + torch.einsum("bte,ebtg->btg", chosen, expert_outputs)
        return SimpleNamespace(
            logits=self.head(last),
            hidden_states=(first, last) if output_hidden_states else None,
            gate_logits=gate_logits,
            expert_indices=expert_indices,
            expert_outputs=expert_outputs,
        )


def make_batch(vocab_size: int) -> dict[str, Tensor]:
    """Token ids, the token after each, and a mask that leaves out the end of a row."""
    tokens = torch.randint(min(20, vocab_size), (ROWS, LENGTH + 1))
    mask = torch.ones(ROWS, LENGTH, dtype=torch.int64)
    mask[1, -2:] = 0
    return {"input_ids": tokens[:, :-1].clone(), "labels": tokens[:, 1:].clone(), "attention_mask": mask}


@pytest.fixture(autouse=True)
def _eager(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run compiled graphs uncompiled: the snippets name no compiler, and there are many of them."""
    torch.manual_seed(0)
    compiled = request.node.get_closest_marker("compiled") is not None
    with torch.compiler.set_stance("default" if compiled else "force_eager"):
        yield


@pytest.fixture
def tokenizer() -> Any:
    """Special tokens."""
    return SimpleNamespace(eos_token_id=50256, pad_token_id=None)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """A batch of the guide's vocabulary."""
    return make_batch(VOCABULARY)


@pytest.fixture
def outputs() -> Any:
    """What a model of the guide's sizes answers; each tensor is a leaf, so that its gradient can be seen."""
    shape = (ROWS, LENGTH)
    gate_logits = torch.randn(*shape, EXPERTS, requires_grad=True)
    return SimpleNamespace(
        logits=torch.randn(*shape, VOCABULARY, requires_grad=True),
        hidden_states=(torch.randn(*shape, HIDDEN), torch.randn(*shape, HIDDEN, requires_grad=True)),
        gate_logits=gate_logits,
        expert_indices=gate_logits.detach().topk(2, -1).indices,
        expert_outputs=torch.randn(EXPERTS, *shape, 16, requires_grad=True),
    )
