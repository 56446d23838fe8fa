"""The logit terms as a competent PyTorch user composes them: vectorised, at the caller's dtype and device.

The baseline of accuracy ("gradient error no larger than 1.2 × the naive composition's at the same dtype") and of the
benchmarks. Nothing here depends on the data, so it also runs under `torch.compile(fullgraph=True)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .eos_penalty import penalised as eos_penalised
from .immediate_repetition_penalty import penalised as immediate_penalised
from .ngram_penalty import candidates
from .positions import Positions

Number = float | Tensor

NAMES = (
    "main_loss",
    "focal_loss",
    "z_loss",
    "token_diversity_loss",
    "immediate_repetition_penalty",
    "ngram_penalty",
    "eos_penalty",
)


class Indices(NamedTuple):
    """Integers of the flattened positions, `N = B·T`. −1 stands for "no token"."""

    targets: Tensor
    """`[N]`; 0 where invalid."""
    valid: Tensor
    """`[N]` bool: `M`."""
    repeated: Tensor
    """`[N]`: the token of the immediate penalty, or −1."""
    candidates: Tensor
    """`[N, w]`: the tokens of the n-gram penalty, padded with −1."""
    eos: Tensor
    """`[N]`: EOS where its penalty applies, or −1."""
    n: Tensor
    """0-d float32: the denominator."""

    def to(self, device: torch.device | str) -> Indices:
        """The same on another device."""
        return Indices(*(tensor.to(device) for tensor in self))


@dataclass(frozen=True)
class Weights:
    """Weights of the total; 0 leaves the term out."""

    focal_loss: float = 0.2
    z_loss: float = 1e-4
    token_diversity_loss: float = 0.05
    immediate_repetition_penalty: float = 0.5
    ngram_penalty: float = 0.1
    eos_penalty: float = 0.05


def indices(
    at: Positions,
    *,
    threshold: int = 2,
    size: int = 4,
    window: int = 50,
    eos_token_id: int | None = None,
    min_length: int = 20,
    width: int | None = None,
) -> Indices:
    """What the naive terms need to know, from the references' loops. `width` is `w`, `window` by default."""
    width = width or window
    targets, repeated, eos, following = [], [], [], []
    for b in range(at.batch):
        for t in range(at.length):
            valid = at.valid[b][t]
            targets.append(at.targets[b][t] if valid else 0)
            c = immediate_penalised(at, b, t, threshold) if valid else None
            repeated.append(-1 if c is None else c)
            ends = valid and eos_token_id is not None and eos_penalised(at, b, t, eos_token_id, min_length)
            eos.append(eos_token_id if ends and eos_token_id is not None else -1)
            found = candidates(at, b, t, size, window) if valid else []
            following.append(found + [-1] * (width - len(found)))
    return Indices(
        targets=torch.tensor(targets, dtype=torch.long),
        valid=torch.tensor(at.valid, dtype=torch.bool).reshape(-1),
        repeated=torch.tensor(repeated, dtype=torch.long),
        candidates=torch.tensor(following, dtype=torch.long).reshape(len(targets), width),
        eos=torch.tensor(eos, dtype=torch.long),
        n=torch.tensor(at.n, dtype=torch.float32),
    )


def log_probabilities(x: Tensor, tau: Number = 1.0) -> Tensor:
    """`log p [N, V]` in float32 (float64 for float64 logits) of logits `[N, V]`."""
    wide = x if x.dtype == torch.float64 else x.float()
    return F.log_softmax(wide / tau, dim=-1)


def mean_over_valid(value: Tensor, at: Indices) -> Tensor:
    """`Σ M·f / n` of `[N]`."""
    return torch.where(at.valid, value, 0).sum() / at.n


def unlikelihood(log_p: Tensor, tokens: Tensor) -> Tensor:
    """`−log(1 − p)` at `tokens [N, w]`, 0 at the −1s; infinite once `p` rounds to 1, as the naive one is."""
    p = torch.where(tokens >= 0, log_p.gather(1, tokens.clamp_min(0)).exp(), 0)
    return -torch.log1p(-p)


def main_loss(x: Tensor, at: Indices, *, tau: Number = 1.0, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with label smoothing."""
    log_p = log_probabilities(x, tau)
    loss = -log_p.gather(1, at.targets.unsqueeze(1)).squeeze(1)
    if label_smoothing > 0:
        loss = (1 - label_smoothing) * loss - label_smoothing * log_p.mean(dim=-1)
    return mean_over_valid(loss, at)


def focal_loss(x: Tensor, at: Indices, *, tau: Number = 1.0, gamma: float = 2.0, alpha: float = 1.0) -> Tensor:
    """`α(1−p)^γ·NLL`."""
    log_py = log_probabilities(x, tau).gather(1, at.targets.unsqueeze(1)).squeeze(1)
    return mean_over_valid(-alpha * (1 - log_py.exp()) ** gamma * log_py, at)


def z_loss(x: Tensor, at: Indices, *, tau: Number = 1.0) -> Tensor:
    """`logsumexp²`."""
    wide = x if x.dtype == torch.float64 else x.float()
    return mean_over_valid(torch.logsumexp(wide / tau, dim=-1) ** 2, at)


def token_diversity_loss(x: Tensor, at: Indices, *, tau: Number = 1.0) -> Tensor:
    """`1 − H/log V`."""
    log_p = log_probabilities(x, tau)
    entropy = -(log_p.exp() * log_p).sum(dim=-1)
    return mean_over_valid(1 - entropy / math.log(x.shape[-1]), at)


def immediate_repetition_penalty(x: Tensor, at: Indices, *, tau: Number = 1.0) -> Tensor:
    """Unlikelihood of the last token."""
    return mean_over_valid(unlikelihood(log_probabilities(x, tau), at.repeated.unsqueeze(1)).sum(dim=1), at)


def ngram_penalty(x: Tensor, at: Indices, *, tau: Number = 1.0) -> Tensor:
    """Unlikelihood of the candidates."""
    return mean_over_valid(unlikelihood(log_probabilities(x, tau), at.candidates).sum(dim=1), at)


def eos_penalty(x: Tensor, at: Indices, *, tau: Number = 1.0) -> Tensor:
    """Unlikelihood of EOS."""
    return mean_over_valid(unlikelihood(log_probabilities(x, tau), at.eos.unsqueeze(1)).sum(dim=1), at)


def terms(
    x: Tensor,
    at: Indices,
    *,
    tau: Number = 1.0,
    label_smoothing: float = 0.0,
    gamma: float = 2.0,
    alpha: float = 1.0,
) -> dict[str, Tensor]:
    """Every term of `NAMES`, unweighted, of logits `[N, V]`."""
    return {
        "main_loss": main_loss(x, at, tau=tau, label_smoothing=label_smoothing),
        "focal_loss": focal_loss(x, at, tau=tau, gamma=gamma, alpha=alpha),
        "z_loss": z_loss(x, at, tau=tau),
        "token_diversity_loss": token_diversity_loss(x, at, tau=tau),
        "immediate_repetition_penalty": immediate_repetition_penalty(x, at, tau=tau),
        "ngram_penalty": ngram_penalty(x, at, tau=tau),
        "eos_penalty": eos_penalty(x, at, tau=tau),
    }


def total(
    x: Tensor, at: Indices, weights: Weights | None = None, *, tau: Number = 1.0, label_smoothing: float = 0.0
) -> Tensor:
    """The weighted total, each term with a `log_softmax` of its own, as separate loss modules would."""
    chosen = vars(weights or Weights())
    values = terms(x, at, tau=tau, label_smoothing=label_smoothing)
    loss = values["main_loss"]
    for name, weight in chosen.items():
        loss = loss + weight * values[name]
    return loss


def shared_total(
    x: Tensor, at: Indices, weights: Weights | None = None, *, tau: Number = 1.0, label_smoothing: float = 0.0
) -> Tensor:
    """The same total with one `log_softmax` for all: the kindest naive composition, and what to time against."""
    w = weights or Weights()
    wide = x if x.dtype == torch.float64 else x.float()
    z = wide / tau
    log_p = F.log_softmax(z, dim=-1)
    log_py = log_p.gather(1, at.targets.unsqueeze(1)).squeeze(1)
    loss = -(1 - label_smoothing) * log_py
    if label_smoothing > 0:
        loss = loss - label_smoothing * log_p.mean(dim=-1)
    loss = loss - w.focal_loss * (1 - log_py.exp()) ** 2 * log_py
    loss = loss + w.z_loss * torch.logsumexp(z, dim=-1) ** 2
    entropy = -(log_p.exp() * log_p).sum(dim=-1)
    loss = loss + w.token_diversity_loss * (1 - entropy / math.log(x.shape[-1]))
    loss = loss + w.immediate_repetition_penalty * unlikelihood(log_p, at.repeated.unsqueeze(1)).sum(dim=1)
    loss = loss + w.ngram_penalty * unlikelihood(log_p, at.candidates).sum(dim=1)
    loss = loss + w.eos_penalty * unlikelihood(log_p, at.eos.unsqueeze(1)).sum(dim=1)
    return mean_over_valid(loss, at)


def head_logits(
    hidden: Tensor, lm_head: Tensor, bias: Tensor | None = None, *, scale: float = 1.0, softcap: float | None = None
) -> Tensor:
    """`softcap(scale·h·Wᵀ + bias)` at the caller's dtype, `[N, V]`."""
    x = scale * F.linear(hidden, lm_head)
    if bias is not None:
        x = x + bias
    return x if softcap is None else softcap * torch.tanh(x / softcap)
