"""When a term helps and when it hurts: what its docstring leaves to the reader who chooses."""

from __future__ import annotations

__all__ = ["HELPS", "HURTS"]

HELPS: dict[str, tuple[str, ...]] = {
    "main_loss": (
        "`standard`: always; the yardstick for everything else.",
        "Label smoothing of 0.05 to 0.15: noisy labels, or a model that becomes certain early in many epochs.",
        "`deepseek` with an adaptive temperature: the loss jumps from step to step, and the learning rate is not at "
        "fault.",
    ),
    "focal_loss": (
        "Rare tokens stay bad while the mean loss looks good.",
        "Most of the batch is easy: templates, boilerplate, code with long runs of fixed text.",
    ),
    "z_loss": (
        "Long training in 16 bits, where logits grow over the run: `loss.diagnose(…)` prints their extremes.",
        "A large vocabulary, or a head that shares its weight with the embedding.",
    ),
    "token_diversity_loss": (
        "Predictions collapse onto a handful of tokens: `metrics/entropy` falls to near 0 while the accuracy is low.",
        "Later decoding samples, and has to find alternatives.",
    ),
    "immediate_repetition_penalty": (
        "Greedy decoding stutters: the same token twice or more in a row.",
        "Small models and short training, where copying the last token is the first thing that is learnt.",
    ),
    "ngram_penalty": (
        "Generations fall into loops of phrases (rep-4 of the samples far above that of the text).",
        "As a fine-tuning step on a model that loops already.",
    ),
    "eos_penalty": (
        "Answers end after a few tokens, though the data's do not.",
        "Packed short documents, from which a model learns that an end is never far.",
    ),
    "mtp_loss": (
        "The model will decode speculatively with its own future-token heads.",
        "Data is scarce: each position gives several targets.",
    ),
    "contrastive_loss": (
        "Hidden states are used for something else too: retrieval, classification.",
        "Representations have collapsed into a narrow cone (their mean cosine is near 1).",
    ),
    "moe_balance_loss": (
        "Any mixture of experts trained from scratch: without it a few experts take all tokens.",
        "`loss_free`, where the gradient of a balancing loss costs quality and the router can add a bias.",
    ),
    "router_z_loss": ("A router in bfloat16, above all with many experts.",),
    "expert_diversity_loss": ("Experts are balanced, and still compute nearly the same.",),
    "distillation_loss": (
        "A larger model with the same vocabulary is at hand: its distribution says more than one target.",
    ),
}

HURTS: dict[str, tuple[str, ...]] = {
    "main_loss": (
        "Smoothing raises the loss that is reported; compare runs by `metrics/perplexity`, which is without it.",
        "A temperature is part of the objective: logits of a model trained at `τ ≠ 1` are calibrated for that `τ`.",
        "An adaptive temperature within wide bounds: a loss that falls fast counts as unsteady, so the temperature "
        "rises to its bound. In [the study](../study.md) that cost held-out loss and made sampled text repeat itself.",
    ),
    "focal_loss": (
        "Noisy labels: the hardest tokens are the wrong ones, and they get the most weight.",
        "Together with label smoothing, which wants the opposite: [AVA314](../rules/focal-with-smoothing.md).",
        "Perplexity is the goal: the minimum of the sum is no longer calibrated.",
    ),
    "z_loss": ("A weight of 0.01 or more competes with the main loss: it wants small logits, not right ones.",),
    "token_diversity_loss": (
        "Text with one right answer, such as arithmetic or copying: certainty is right there.",
        "On top of label smoothing, which does the same.",
    ),
    "immediate_repetition_penalty": (
        "Data in which doubles are right and the tokenizer makes single tokens of digits, spaces or brackets: the "
        "target itself is never charged, a plausible double that is not the target is.",
    ),
    "ngram_penalty": (
        "Text that repeats on purpose: tables, code, lyrics, legal forms.",
        "A wide window costs a column for each position in it.",
    ),
    "eos_penalty": ("Data with many answers shorter than `min_length`: the model learns to stretch them.",),
    "mtp_loss": (
        "Each head is another pass over the vocabulary, and another column of hidden states in memory.",
        "Small models lack the room to plan ahead; the main loss pays for it.",
    ),
    "contrastive_loss": (
        "Batches in which few tokens occur twice: there are no positive pairs.",
        "Its cost grows with the square of `max_tokens`.",
    ),
    "moe_balance_loss": (
        "Experts are meant to specialise on unequal data; then give each its share in `target_expert_usage`.",
        "Too large a weight makes the router blind: all experts equal, none used for what it does best.",
        "`loss_free` over too few steps: `rate` times their number has to exceed the spread of a token's router "
        "logits, 1 to 2 in [the study](../study.md), where `rate: 0.01` balanced best and 0.001 came too late.",
    ),
    "router_z_loss": ("A large weight flattens the router until its choice is a coin toss.",),
    "expert_diversity_loss": (
        "It needs the outputs of all experts for a token, which many implementations do not keep.",
    ),
    "distillation_loss": (
        "Another pass over the vocabulary, and the teacher's logits in memory.",
        "A teacher that is wrong in your domain passes that on.",
    ),
}
