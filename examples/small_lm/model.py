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
    chosen: tuple[Tensor, ...]  # per layer [B, T, k], the experts that each token went through


class Cache:
    """Keys and values of what was read, per layer, so that text grows by a token without reading it all again."""

    def __init__(self, layers: int) -> None:
        self.read: list[tuple[Tensor, Tensor] | None] = [None] * layers

    @property
    def length(self) -> int:
        return self.read[0][0].shape[2] if self.read[0] else 0

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The layer's keys and values `[B, heads, T, D]` with the new ones behind them."""
        before = self.read[layer]
        both = (k, v) if before is None else (torch.cat((before[0], k), 2), torch.cat((before[1], v), 2))
        self.read[layer] = both
        return both


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, layer: int) -> None:
        super().__init__()
        self.heads, self.layer = heads, layer
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], cache: Cache | None) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        q, k = rotate(q, turn), rotate(k, turn)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=q.shape[2] > 1)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


def rotary(length: int, head_width: int, device: torch.device, start: int = 0) -> tuple[Tensor, Tensor]:
    """Cosines and sines `[T, D/2]` of each position's angles (Su et al., 2021), from position `start` on."""
    speeds = 10_000.0 ** (-torch.arange(0, head_width, 2, device=device) / head_width)
    angles = torch.arange(start, start + length, device=device)[:, None] * speeds
    return angles.cos(), angles.sin()


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = turn
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


def mlp(width: int, inner: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, inner, bias=False), nn.GELU(), nn.Linear(inner, width, bias=False))


class Experts(nn.Module):
    """Each token goes through its `top_k` experts, weighted by the router's probabilities among them.

    `bias [E]` is added to the router's logits for the choice alone: `loss.expert_bias` of the balancing without a loss.
    """

    def __init__(self, width: int, inner: int, count: int, top_k: int) -> None:
        super().__init__()
        self.top_k = top_k
        self.router = nn.Linear(width, count, bias=False)
        self.experts = nn.ModuleList(mlp(width, inner) for _ in range(count))
        self.bias: Tensor
        self.register_buffer("bias", torch.zeros(count))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gate = self.router(x)
        indices = (gate + self.bias).topk(self.top_k, dim=-1).indices
        share = torch.zeros_like(gate).scatter(-1, indices, gate.gather(-1, indices).softmax(-1))
        mixed = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows = share[..., number].nonzero(as_tuple=True)
            mixed = mixed.index_put(rows, expert(x[rows]) * share[..., number][rows][:, None], accumulate=True)
        return mixed, gate, indices


class Block(nn.Module):
    def __init__(self, width: int, layer: int, heads: int, experts: int, top_k: int) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attention = Attention(width, heads, layer)
        self.mlp = Experts(width, 2 * width, experts, top_k) if experts else mlp(width, 4 * width)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], cache: Cache | None) -> tuple[Tensor, list[Tensor]]:
        """The stream, and the router's logits and choice where there is one."""
        x = x + self.attention(self.attention_norm(x), turn, cache)
        mixed = self.mlp(self.mlp_norm(x))
        change, *routing = mixed if isinstance(mixed, tuple) else (mixed,)
        return x + change, routing


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
        heads = width // head_width
        self.blocks = nn.ModuleList(Block(width, layer, heads, experts, top_k) for layer in range(layers))
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, vocab, bias=False)
        self.head.weight = self.embedding.weight
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                into_stream = name.endswith(("attention.out.weight", "2.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * layers) ** 0.5 if into_stream else 0.02)

    def forward(self, tokens: Tensor, cache: Cache | None = None) -> Output:
        """With a cache, `tokens` follow what it holds: any number at first, then one at a time."""
        x = self.embedding(tokens)
        turn = rotary(tokens.shape[1], self.head_width, tokens.device, cache.length if cache else 0)
        routed = []
        for block in self.blocks:
            x, routing = block(x, turn, cache)
            if routing:
                routed.append(routing)
        hidden = self.norm(x)
        gates, chosen = zip(*routed, strict=True) if routed else ((), ())
        return Output(self.head(hidden), hidden, gates, chosen)

    @torch.no_grad()
    def set_expert_bias(self, bias: Tensor) -> None:
        """What each layer's router adds before its choice, `[L, E]`."""
        for block, row in zip(self.blocks, bias, strict=True):
            block.mlp.bias.copy_(row)
