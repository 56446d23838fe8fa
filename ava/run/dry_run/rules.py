"""The rules of what a dry run measured: AVA451, AVA452 (cost), AVA551 to AVA555 (numerics)."""

from __future__ import annotations

from ava.errors import Rule, Severity

__all__ = ["RULES"]


def _rule(code: str, name: str, severity: Severity, does: str, bad: str, example: str, instead: str) -> Rule:
    """Return the rule with its documentation; the two samples become YAML blocks."""
    sections = (
        ("What it does", does),
        ("Why is this bad", bad),
        ("Example", f"```yaml\n{example}\n```"),
        ("Use instead", f"```yaml\n{instead}\n```"),
    )
    return Rule(code, name, severity, "\n\n".join(f"## {title}\n\n{body}" for title, body in sections) + "\n")


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

RULES: tuple[Rule, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Rule))
