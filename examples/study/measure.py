"""What a trained model is measured on: held-out text, and text of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from small_lm.data import END, VOCAB, Batch, PackedText
from small_lm.evaluation import by_the_loss, evaluating
from small_lm.model import Cache, Output, SmallLM
from torch import Tensor

import ava

from . import metrics
from .recipes import Sizes

TEMPERATURES = [step / 20 for step in range(10, 41)]  # 0.5 to 2
DICE = 12345  # of the sampled texts, the same for every run


def held_out(model: SmallLM, batches: Sequence[Batch], temperature: float, *, best: bool = True) -> dict[str, Any]:
    """Cross-entropy in nats a token at τ = 1 and at the loss's τ; accuracy; repeats; with `best`, the best τ as well.

    The best τ is found on the same text, so what is left there is not the scale of the logits. A false repeat is a
    position where the likeliest token is the one just read and the text goes on differently; a missed repeat is one
    where the text repeats and the likeliest token does not. `nats_on_repeats` is the mean where the text repeats.
    """
    at = [1.0, temperature, *(TEMPERATURES if best else ())]
    nats, tallies = torch.zeros(len(at), dtype=torch.float64), torch.zeros(5)
    tokens, counts, spreads = 0, [], []
    with evaluating(model):
        for batch in batches:
            out = model(batch.inputs)
            logits, targets, read = out.logits.flatten(0, 1).float(), batch.targets.flatten(), batch.inputs.flatten()
            nats += torch.stack([F.cross_entropy(logits / tau, targets, reduction="sum") for tau in at]).double().cpu()
            likeliest, repeats = logits.argmax(-1), targets == read
            false, missed = (likeliest == read) & ~repeats, (likeliest != read) & repeats
            on_repeats = F.cross_entropy(logits, targets, reduction="none") * repeats
            found = (likeliest == targets, false, missed, repeats, on_repeats)
            tallies += torch.stack([part.float().sum() for part in found]).cpu()
            tokens += targets.numel()
            if out.gates:
                counts.append(assignments(out).cpu())
                spreads.append(torch.stack(out.gates).std(-1).mean().item())
    mean = (nats / tokens).tolist()
    names = ("accuracy", "false_repeats", "missed_repeats", "repeats")
    scores: dict[str, Any] = {
        "nats": mean[0],
        "temperature": temperature,
        "nats_at_temperature": mean[1],
        **dict(zip(names, (tallies[:4] / tokens).tolist(), strict=True)),
        "nats_on_repeats": (tallies[4] / tallies[3]).item(),
    }
    if best:
        scores["nats_at_best"], scores["best_temperature"] = min(zip(mean[2:], TEMPERATURES, strict=True))
    if counts:
        scores["experts"] = metrics.load(torch.stack(counts).sum(0).tolist()) | {
            "gate_spread": sum(spreads) / len(spreads),  # of a token's router logits, what a bias has to move
            "largest_bias": max(block.mlp.bias.abs().max().item() for block in model.blocks),
        }
    return scores


def assignments(out: Output) -> Tensor:
    """How many tokens each expert of each layer got, `[L, E]`."""
    return torch.stack(
        [
            torch.bincount(chosen.flatten(), minlength=gate.shape[-1])
            for chosen, gate in zip(out.chosen, out.gates, strict=True)
        ]
    )


def penalties(model: SmallLM, batches: Sequence[Batch]) -> dict[str, float]:
    """The penalties of `standard` before their weights, at τ = 1, whatever the model was trained with."""
    terms: dict[str, dict[str, Any]] = {
        name: {} for name in ("immediate_repetition_penalty", "ngram_penalty", "eos_penalty")
    }
    config = {"version": 1, "terms": terms, "compile": {"enabled": False}}
    probe = ava.Loss.load(config, vocab_size=VOCAB, eos_token_id=END).to(batches[0].inputs.device)

    def call(out: Output, batch: Batch) -> ava.LossOutput:
        detail: ava.LossOutput = probe(
            logits=out.logits,
            targets=batch.targets,
            input_ids=batch.inputs,
            segment_ids=batch.segments,
            return_detailed=True,
        )
        return detail

    found = by_the_loss(model, probe, call, batches)
    return {name.removeprefix("raw/"): value for name, value in found.items() if name.startswith("raw/")}


def continued(model: SmallLM, prompts: Tensor, count: int, temperature: float | None = None) -> Tensor:
    """The continuation `[B, count]` of prompts `[B, P]`: greedy, or sampled at a temperature."""
    dice = torch.Generator(prompts.device).manual_seed(DICE)
    cache, given, grown = Cache(len(model.blocks)), prompts, []
    with evaluating(model):
        for _ in range(count):
            logits = model(given, cache).logits[:, -1].float()
            if temperature is None:
                given = logits.argmax(-1, keepdim=True)
            else:
                given = torch.multinomial((logits / temperature).softmax(-1), 1, generator=dice)
            grown.append(given)
    return torch.cat(grown, dim=1)


def prompts(unseen: PackedText, sizes: Sizes) -> tuple[Tensor, Tensor]:
    """Evenly spaced held-out prompts `[B, P]` and what really follows them `[B, C]`."""
    (batch,) = unseen.spread(sizes.prompts, 1, sizes.prompt_length + sizes.continuation)
    return batch.inputs[:, : sizes.prompt_length], batch.inputs[:, sizes.prompt_length :]


def texts(model: SmallLM, given: Tensor, count: int, temperature: float) -> dict[str, dict[str, float]]:
    """Repetition of greedy text, of text sampled at τ = 1, and at the loss's τ.

    `premature_documents`: how many documents, begun from nothing, end before their 20th token.
    """
    ways: dict[str, float | None] = {"greedy": None, "sampled": 1.0}
    if abs(temperature - 1) > 1e-6:
        ways["sampled_at_temperature"] = temperature
    start = torch.full_like(given[:, :1], END)
    found = {}
    for name, tau in ways.items():
        found[name] = metrics.describe(continued(model, given, count, tau).tolist(), END)
        begun = continued(model, start, metrics.MIN_LENGTH, tau).tolist()
        found[name]["premature_documents"] = sum(metrics.premature(text, END) for text in begun) / len(begun)
    return found
