"""The rules of what a dry run measured: AVA451 to AVA453 (cost), AVA551 to AVA555 (numerics), AVA561 to AVA568 (why a
loss is not finite, which a diagnosis finds too).
"""

from __future__ import annotations

from ava.errors import Rule, Severity, documentation

__all__ = ["RULES"]


def _rule(code: str, name: str, severity: Severity, does: str, bad: str, example: str, instead: str) -> Rule:
    """Return the rule with its documentation; the two samples become YAML blocks."""
    return Rule(code, name, severity, documentation(does, bad, example, instead))


GRAPH_BREAK = _rule(
    "AVA451",
    "graph-break",
    "warning",
    "Finds, in a dry run, a loss that does not compile into one graph. The terms of this package do; a term of your "
    "own may not.",
    "The loss then runs uncompiled, which takes several times as long and as much memory.",
    "version: 1\nterms:\n  my_term: {}  # whose `value` calls `.item()`",
    "version: 1\nterms:\n  my_term: {}  # whose `value` stays on tensors",
)
RECOMPILE = _rule(
    "AVA452",
    "recompiles",
    "warning",
    "Finds, in a dry run, a loss that compiles again while it trains on batches of one shape.",
    "Each compilation takes as long as thousands of steps, and after a few the compiler gives up.",
    "version: 1\nterms:\n  my_term: {}  # which reads a Python number that changes every step",
    "version: 1\nterms:\n  my_term: {}  # whose changing numbers are tensors",
)
NOT_FINITE = _rule(
    "AVA551",
    "non-finite-result",
    "error",
    "Finds, in a dry run, a total, a term or a gradient that is infinite or not a number.",
    "One such step destroys the model's parameters.",
    "version: 1\nterms:\n  z_loss: {weight: 1e38}",
    "version: 1\nterms:\n  z_loss: {weight: 1e-4}",
)
FIGHTS = _rule(
    "AVA552",
    "fights-main-loss",
    "warning",
    "Finds, in a dry run, a term whose gradient points against that of the main loss (cosine below -0.9).",
    "What the main loss learns in a step, the term takes back; only the difference of the two trains the model.",
    "version: 1\nterms:\n  token_diversity_loss: {weight: 1.0}",
    "version: 1\nterms:\n  token_diversity_loss: {weight: 0.05}",
)
DOMINATES = _rule(
    "AVA553",
    "dominating-term",
    "warning",
    "Finds, in a dry run, a term with more than half of the gradient. (Not with the scenarios `repetitive`, "
    "`collapsed` and `skewed`, which are there to make penalties large.)",
    "The model then learns to please the term, and language only on the side.",
    "version: 1\nterms:\n  z_loss: {weight: 1.0}",
    "version: 1\nterms:\n  z_loss: {weight: 1e-4}",
)
IDLE = _rule(
    "AVA554",
    "idle-term",
    "info",
    "Finds, in a dry run, a term without any gradient: its weight is zero, or nothing in this scenario concerns it.",
    "A term that never acts costs time and promises what it does not do. With another `--scenario` it may act.",
    "version: 1\nterms:\n  ngram_penalty: {weight: 0.0}",
    "version: 1\nterms:\n  ngram_penalty: {weight: 0.1}",
)
DIFFERS = _rule(
    "AVA555",
    "compiled-differs",
    "error",
    "Finds, in a dry run, a compiled loss whose value or gradient differs from the uncompiled one by more than "
    "rounding.",
    "The compiler, or a term of your own, computes something else than what is written.",
    "version: 1\ncompile: {enabled: true}",
    "version: 1\ncompile: {enabled: false}",
)
COSTS = _rule(
    "AVA453",
    "costs-more-than-planned",
    "warning",
    "Finds, in a dry run, a loss whose peak memory is more than 15 % above the plan's estimate.",
    "A batch that was sized by the plan does not fit; something keeps tensors of the vocabulary's width.",
    "version: 1\nterms:\n  my_term: {}  # whose `value` builds a tensor `[N, V]`",
    "version: 1\nterms:\n  my_term: {}  # whose `value` works on numbers per row",
)
BAD_INPUT = _rule(
    "AVA561",
    "non-finite-input",
    "error",
    "Finds a tensor of a call that holds NaN or an infinity at a position that counts.",
    "The loss of the whole batch is then not finite, and so is the gradient of every parameter.",
    "version: 1\nprimary: {type: deepseek, temperature: {initial: 0.01}}  # drives the model apart",
    "version: 1\nprimary: {type: deepseek, temperature: {initial: 1.0}}",
)
OVERFLOW = _rule(
    "AVA562",
    "overflowing-logits",
    "error",
    "Finds logits that are infinite because their dtype ends before them, float16 at 65504.",
    "The log of the sum over such a row is infinite, and its gradient is not a number.",
    "version: 1\nmodel: {logit_scale: 1000.0}",
    "version: 1\nmodel: {logit_softcap: 30.0}",
)
BAD_TEMPERATURE = _rule(
    "AVA563",
    "temperature-out-of-reach",
    "error",
    "Finds a temperature that is not a positive number, or so small that logits divided by it overflow.",
    "Every probability of the model is then 0, 1 or not a number.",
    "version: 1\nprimary: {type: deepseek, temperature: {initial: 1.0e-38, bounds: [1.0e-38, 2.0]}}",
    "version: 1\nprimary: {type: deepseek, temperature: {initial: 1.0, bounds: [0.7, 1.5]}}",
)
TARGET_OUTSIDE = _rule(
    "AVA564",
    "target-outside-vocabulary",
    "error",
    "Finds a target that counts and is negative, or not below the vocabulary's size.",
    "There is no logit for it; the loss answers NaN rather than a wrong number.",
    "version: 1\nmodel: {vocab_size: 50257}  # and a token 50260 that was added later",
    "version: 1\nmodel: {vocab_size: 50261}",
)
MASKED_LOGIT = _rule(
    "AVA565",
    "masked-logit",
    "error",
    "Finds a logit of -inf where the loss needs a number: at the target, anywhere with label smoothing, or in a whole "
    "row.",
    "The target's probability is 0 and its loss infinite; one such position is enough for the batch.",
    "version: 1\nprimary: {type: standard, label_smoothing: 0.1}  # with columns masked by -inf",
    "version: 1\nprimary: {type: standard, label_smoothing: 0.0}",
)
WEIGHT_OVERFLOW = _rule(
    "AVA566",
    "weight-overflows",
    "error",
    "Finds a finite term that its weight, or its learned variance, makes infinite.",
    "The total is infinite whatever the other terms say.",
    "version: 1\nterms:\n  z_loss: {weight: 1e38}",
    "version: 1\nterms:\n  z_loss: {weight: 1e-4}",
)
BAD_PARAMETER = _rule(
    "AVA567",
    "non-finite-parameter",
    "error",
    "Finds a parameter of the loss itself (its future-token heads, its balancing weights) that is NaN or infinite.",
    "It stays so, and with it every loss to come: a step with a gradient that was not finite broke it.",
    "version: 1\nbalancing: uncertainty  # trained without clipping its gradient",
    "version: 1\nbalancing: fixed",
)
NOTHING_COUNTS = _rule(
    "AVA568",
    "nothing-counts",
    "warning",
    "Finds a call in which no position counts: all targets are ignored, padding or masked.",
    "The loss is 0 and trains nothing. Losses that divide by the number of positions answer NaN here.",
    "version: 1\nmodel: {ignore_index: 0, pad_token_id: 1}  # and labels that are all 0",
    "version: 1\nmodel: {ignore_index: -100, pad_token_id: 1}",
)

RULES: tuple[Rule, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Rule))
