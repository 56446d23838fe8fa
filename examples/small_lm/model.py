"""A small GPT: pre-norm blocks, rotary positions, causal attention, a tied head; experts where the loss wants them."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Output(NamedTuple):
    logits: Tensor  # [B, T, V]
    hidden: Tensor  # [B, T, H], what the head reads
    gates: tuple[Tensor, ...]  # per layer [B, T, E], the router's logits; empty without experts


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        mixed = F.scaled_dot_product_attention(rotate(q, turn), rotate(k, turn), v, is_causal=True)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


def rotary(length: int, head_width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines `[T, D/2]` of each position's angles (Su et al., 2021)."""
    speeds = 10_000.0 ** (-torch.arange(0, head_width, 2, device=device) / head_width)
    angles = torch.arange(length, device=device)[:, None] * speeds
    return angles.cos(), angles.sin()


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = turn
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


def mlp(width: int, inner: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, inner, bias=False), nn.GELU(), nn.Linear(inner, width, bias=False))


class Experts(nn.Module):
    """Each token goes through its `top_k` experts, weighted by the router's probabilities among them."""

    def __init__(self, width: int, inner: int, count: int, top_k: int) -> None:
        super().__init__()
        self.top_k = top_k
        self.router = nn.Linear(width, count, bias=False)
        self.experts = nn.ModuleList(mlp(width, inner) for _ in range(count))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        gate = self.router(x)
        chosen, indices = gate.topk(self.top_k, dim=-1)
        share = torch.zeros_like(gate).scatter(-1, indices, chosen.softmax(-1))
        mixed = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows = share[..., number].nonzero(as_tuple=True)
            mixed = mixed.index_put(rows, expert(x[rows]) * share[..., number][rows][:, None], accumulate=True)
        return mixed, gate


class Block(nn.Module):
    def __init__(self, width: int, heads: int, experts: int, top_k: int) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = Experts(width, 2 * width, experts, top_k) if experts else mlp(width, 4 * width)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor | None]:
        x = x + self.attention(self.attention_norm(x), turn)
        mixed = self.mlp(self.mlp_norm(x))
        change, gate = mixed if isinstance(mixed, tuple) else (mixed, None)
        return x + change, gate


class SmallLM(nn.Module):
    """Tokens `[B, T]` to logits, last hidden states and router logits."""

    def __init__(
        self, vocab: int, width: int, layers: int, head_width: int = 32, experts: int = 0, top_k: int = 2
    ) -> None:
        super().__init__()
        if width % head_width:
            raise ValueError(f"width must be a multiple of {head_width}, the width of a head; got {width}")
        self.head_width = head_width
        self.embedding = nn.Embedding(vocab, width)
        self.blocks = nn.ModuleList(Block(width, width // head_width, experts, top_k) for _ in range(layers))
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, vocab, bias=False)
        self.head.weight = self.embedding.weight
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                into_stream = name.endswith(("attention.out.weight", "2.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * layers) ** 0.5 if into_stream else 0.02)

    def forward(self, tokens: Tensor) -> Output:
        x = self.embedding(tokens)
        turn = rotary(tokens.shape[1], self.head_width, tokens.device)
        gates = []
        for block in self.blocks:
            x, gate = block(x, turn)
            if gate is not None:
                gates.append(gate)
        hidden = self.norm(x)
        return Output(self.head(hidden), hidden, tuple(gates))
