"""AVA5xx: what loses precision, or runs away. Those about the temperature are in ``temperature``."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ava.errors import documentation
from ava.lint.subject import ConfigRule, Subject
from ava.numbers import short
from ava.terms.advice import Advice, Project

__all__ = ["RULES"]

HALF = ("float16", "bfloat16")
LARGE_VOCABULARY = 65536
SURE = 0.99  # a probability that a capped logit should still allow
VANISHING = (
    "token_diversity_loss",
    "immediate_repetition_penalty",
    "ngram_penalty",
    "eos_penalty",
    "moe_balance_loss",
    "expert_diversity_loss",
)
"""Terms that reach 0, or go below it, when the model does well."""


def _drifting_logits(subject: Subject) -> Iterator[Advice]:
    config, dtype = subject.config, subject.project.dtype
    model = config.model
    if dtype not in HALF or config.terms.z_loss or model.logit_softcap or model.vocab_size is None:
        return
    if dtype == "float16":
        why = "a logit beyond 65504 becomes infinite"
    elif model.vocab_size >= LARGE_VOCABULARY:
        why = f"near 256 its numbers are 2 apart, and with {model.vocab_size:,} tokens logits drift"
    else:
        return
    yield Advice(
        f"`dtype` is {dtype}, where {why}, and nothing holds them near 0; add `z_loss: {{}}`, or `logit_softcap`",
        ("model", "vocab_size"),
        (("model",), ("terms",)),
    )


def _router_drift(subject: Subject) -> Iterator[Advice]:
    terms, dtype = subject.config.terms, subject.project.dtype
    if dtype in HALF and terms.moe_balance_loss and not terms.router_z_loss:
        yield Advice(
            f"`dtype` is {dtype}, and large gate logits then make the choice of experts a matter of rounding; add "
            "`router_z_loss: {}`",
            ("terms", "moe_balance_loss"),
            (("terms",),),
            key=True,
        )


def _tight_softcap(subject: Subject) -> Iterator[Advice]:
    model, primary = subject.config.model, subject.config.primary
    if model.logit_softcap is None or model.vocab_size is None or model.vocab_size < 3:
        return
    tau = primary.temperature.initial if primary.temperature is not None else 1.0
    odds = 2 * model.logit_softcap / tau - math.log(model.vocab_size - 1)  # the target at c, all others at -c
    needed = (math.log(SURE / (1 - SURE)) + math.log(model.vocab_size - 1)) * tau / 2
    if odds < math.log(SURE / (1 - SURE)):
        most = 1 / (1 + math.exp(-odds))
        yield Advice(
            f"with `logit_softcap` {short(model.logit_softcap)} no token of {model.vocab_size:,} can have a "
            f"probability above {short(most, 2)}; write {_up(needed)} or more",
            ("model", "logit_softcap"),
            (("model", "vocab_size"), ("primary", "temperature", "initial")),
        )


def _up(value: float) -> str:
    """Return a cap that is enough: a whole number, where it is not astronomic."""
    return str(math.ceil(value)) if value < 1e6 else short(value * 1.01, 2)


def _vanishing(subject: Subject) -> Iterator[Advice]:
    config = subject.config
    if config.balancing != "uncertainty":
        return
    names = [term.name for term in config.enabled if term.name in VANISHING]
    if names:
        words = ", ".join(f"`{name}`" for name in names)
        yield Advice(
            f"`balancing: uncertainty` raises the factor of a term without limit as it nears 0, which {words} should "
            "do; write `fixed`, or balance only terms such as `focal_loss` and `mtp_loss`",
            ("balancing",),
            tuple(("terms", name) for name in names),
        )


RULES = (
    ConfigRule(
        "AVA504",
        "drifting-logits",
        "info",
        documentation(
            "Finds, with a `dtype` of 16 bits in `[tool.ava-loss]`, a model whose logits nothing holds near zero: no "
            "`z_loss` and no `logit_softcap`. (In bfloat16 only for vocabularies of 65,536 tokens and more.)",
            "A softmax does not change when a constant is added to all logits, so they are free to drift. In bfloat16 "
            "a number near 256 is exact to 1; in float16 one beyond 65,504 is infinite, and the loss NaN.",
            "version: 1\nmodel: {vocab_size: 128256}",
            "version: 1\nmodel: {vocab_size: 128256}\nterms:\n  z_loss: {weight: 1e-4}",
        ),
        _drifting_logits,
        Project(dtype="bfloat16"),
    ),
    ConfigRule(
        "AVA505",
        "router-drift",
        "info",
        documentation(
            "Finds, with a `dtype` of 16 bits in `[tool.ava-loss]`, `moe_balance_loss` without `router_z_loss`.",
            "Nothing keeps the router's logits small. Where they are large, the scores of two experts round to the "
            "same number, and which one is picked changes between runs and devices.",
            "version: 1\nterms:\n  moe_balance_loss: {weight: 0.1}",
            "version: 1\nterms:\n  moe_balance_loss: {weight: 0.1}\n  router_z_loss: {weight: 1e-3}",
        ),
        _router_drift,
        Project(dtype="bfloat16"),
    ),
    ConfigRule(
        "AVA506",
        "tight-softcap",
        "warning",
        documentation(
            "Finds a `logit_softcap` so small that no token of the vocabulary can reach a probability of 0.99.",
            "Logits then lie between plus and minus the cap. Against tens of thousands of others, a token needs a lead "
            "of about fifteen to be nearly certain; below that the loss cannot fall, whatever the model learns.",
            "version: 1\nmodel: {vocab_size: 50257, logit_softcap: 5.0}",
            "version: 1\nmodel: {vocab_size: 50257, logit_softcap: 30.0}",
        ),
        _tight_softcap,
    ),
    ConfigRule(
        "AVA507",
        "vanishing-uncertainty",
        "warning",
        documentation(
            "Finds `balancing: uncertainty` over terms that reach zero, or go below it, when the model does well.",
            "A term's learned factor is largest where `½e^(-s)·term + ½s` is smallest: at one over the term. As the "
            "term vanishes the factor grows without limit, and one repeated token then outweighs the whole batch.",
            "version: 1\nterms:\n  ngram_penalty: {weight: 0.1}\nbalancing: uncertainty",
            "version: 1\nterms:\n  ngram_penalty: {weight: 0.1}\nbalancing: fixed",
        ),
        _vanishing,
    ),
)
