"""AVA3xx about sections that do not fit together: terms against the primary loss, the model and each other."""

from __future__ import annotations

from collections.abc import Iterator

from ava.errors import documentation
from ava.lint.subject import ConfigRule, Subject
from ava.numbers import short
from ava.terms.advice import Advice
from ava.terms.base import Schedule

__all__ = ["RULES"]


def _focal_with_smoothing(subject: Subject) -> Iterator[Advice]:
    primary, focal = subject.config.primary, subject.config.terms.focal_loss
    if focal is not None and primary.label_smoothing:
        yield Advice(
            f"`focal_loss` with `label_smoothing` {short(primary.label_smoothing)}: smoothing holds the target's "
            "probability below 1, where the focal term has stopped caring; keep one of them",
            ("terms", "focal_loss"),
            (("primary", "label_smoothing"),),
            key=True,
        )


def _covered_repetition(subject: Subject) -> Iterator[Advice]:
    terms = subject.config.terms
    if terms.ngram_penalty and terms.ngram_penalty.size == 1 and terms.immediate_repetition_penalty:
        yield Advice(
            "`ngram_penalty` with `size: 1` already charges the token just read, and `immediate_repetition_penalty` "
            "charges it again; remove one of them, or use a larger `size`",
            ("terms", "ngram_penalty", "size"),
            (("terms", "immediate_repetition_penalty"),),
        )


def _idle_balancing(subject: Subject) -> Iterator[Advice]:
    config = subject.config
    if config.balancing == "uncertainty" and not config.enabled:
        yield Advice(
            "`balancing: uncertainty` has no terms to balance; name some under `terms`, or remove it",
            ("balancing",),
            (("terms",),),
        )


def _missing_hidden_size(subject: Subject) -> Iterator[Advice]:
    config = subject.config
    if config.terms.mtp_loss and config.model.hidden_size is None and subject.describes_model:
        kind = config.terms.mtp_loss.heads
        yield Advice(
            f"`mtp_loss` makes its own heads (`heads: {kind}`) only where `model.hidden_size` is set; add it, unless "
            "every call gives `mtp_logits` or `mtp_hidden_states`",
            ("terms", "mtp_loss"),
            (("model",),),
            key=True,
        )


def _unreachable_usage(subject: Subject) -> Iterator[Advice]:
    term, experts = subject.config.terms.moe_balance_loss, subject.config.model.num_experts
    usage = term.target_expert_usage if term is not None else None
    if experts is None or usage is None or isinstance(usage, tuple):
        return
    experts = min(experts, 10**9)
    if abs(usage * experts - 1) < 0.02:
        return
    yield Advice(
        f"`target_expert_usage` {short(usage)} for each of {experts} experts sums to {short(usage * experts)}, "
        f"and loads sum to 1; write {short(1 / experts, 4)}, or leave it out",
        ("terms", "moe_balance_loss", "target_expert_usage"),
        (("model", "num_experts"),),
    )


def _no_routing(subject: Subject) -> Iterator[Advice]:
    model, terms = subject.config.model, subject.config.terms
    if model.num_experts is None:
        return
    others = (("model", "num_experts"), ("model", "top_k"))
    if terms.moe_balance_loss and model.num_experts <= model.top_k:
        yield Advice(
            f"`moe_balance_loss` with {model.num_experts} {'expert' if model.num_experts == 1 else 'experts'} and "
            f"`top_k` {model.top_k}: every token goes to all of them, so there is nothing to balance; correct "
            "`model.num_experts` or `model.top_k`",
            ("terms", "moe_balance_loss"),
            others,
            key=True,
        )
    if terms.expert_diversity_loss and model.num_experts == 1:
        yield Advice(
            "`expert_diversity_loss` compares experts, and there is 1; correct `model.num_experts`, or remove the term",
            ("terms", "expert_diversity_loss"),
            others[:1],
            key=True,
        )


def _idle_accumulation(subject: Subject) -> Iterator[Advice]:
    config = subject.config
    steps = config.reduction.gradient_accumulation_steps
    temperature, balance = config.primary.temperature, config.terms.moe_balance_loss
    counts_steps = (
        any(isinstance(term.weight, Schedule) for term in config.enabled)
        or (temperature is not None and temperature.adaptive)
        or (balance is not None and balance.method != "switch")
    )
    foreign = any(not type(term).__module__.startswith("ava.") for term in config.enabled)
    if steps > 1 and not counts_steps and not foreign:
        yield Advice(
            f"`gradient_accumulation_steps` {steps} only says when an optimizer step ends, and nothing here counts "
            "steps; the loss is not divided by it: for that, give calls `num_items`",
            ("reduction", "gradient_accumulation_steps"),
            (("terms",), ("primary", "temperature")),
            idle=True,
        )


def _idle_compile_fields(subject: Subject) -> Iterator[Advice]:
    settings = subject.config.compile
    switch = ("compile", "enabled")
    for name in ("backend", "mode"):
        if name not in settings.model_fields_set:
            continue
        if settings.enabled is False:
            why, others = "`enabled: false`", (switch,)
        elif name == "mode" and settings.backend != "inductor" and settings.mode != "default":
            why, others = f"`backend: {settings.backend}`", (("compile", "backend"),)
        else:
            continue
        yield Advice(
            f"`compile.{name}` has no effect with {why}; remove one of them",
            ("compile", name),
            others,
            key=True,
            idle=True,
        )


RULES = (
    ConfigRule(
        "AVA313",
        "missing-hidden-size",
        "info",
        documentation(
            "Finds `mtp_loss` in a configuration that describes its model and lacks `hidden_size`.",
            "Without the width of the hidden states the loss cannot make heads that predict the future, and a call "
            "must bring what they would give: `mtp_logits` or `mtp_hidden_states`.",
            "version: 1\nmodel: {vocab_size: 50257}\nterms:\n  mtp_loss: {heads: shared}",
            "version: 1\nmodel: {vocab_size: 50257, hidden_size: 768}\nterms:\n  mtp_loss: {heads: shared}",
        ),
        _missing_hidden_size,
    ),
    ConfigRule(
        "AVA314",
        "focal-with-smoothing",
        "warning",
        documentation(
            "Finds `focal_loss` together with `label_smoothing`.",
            "Smoothing pulls the probability of the target back below 1; the focal term fades exactly there and lets "
            "it go. The two work against each other on every token that the model knows.",
            "version: 1\nprimary: {label_smoothing: 0.1}\nterms:\n  focal_loss: {weight: 0.2}",
            "version: 1\nprimary: {label_smoothing: 0.0}\nterms:\n  focal_loss: {weight: 0.2}",
        ),
        _focal_with_smoothing,
    ),
    ConfigRule(
        "AVA315",
        "covered-repetition",
        "info",
        documentation(
            "Finds `ngram_penalty` with `size: 1` beside `immediate_repetition_penalty`.",
            "With a size of 1 every token of the window is charged, the one just read among them, which is what the "
            "other penalty does. The same prediction is then paid for twice.",
            "version: 1\nterms:\n  immediate_repetition_penalty: {}\n  ngram_penalty: {size: 1}",
            "version: 1\nterms:\n  immediate_repetition_penalty: {}\n  ngram_penalty: {size: 4}",
        ),
        _covered_repetition,
    ),
    ConfigRule(
        "AVA316",
        "idle-balancing",
        "warning",
        documentation(
            "Finds `balancing: uncertainty` in a configuration without terms.",
            "It learns a factor for each term. The primary loss has none, so nothing is learned.",
            "version: 1\nbalancing: uncertainty",
            "version: 1\nterms:\n  focal_loss: {weight: 0.2}\nbalancing: uncertainty",
        ),
        _idle_balancing,
    ),
    ConfigRule(
        "AVA317",
        "unreachable-usage",
        "warning",
        documentation(
            "Finds a single number in `target_expert_usage` that is not one over `num_experts`.",
            "The loads of all experts sum to 1. A target that does not can never be met, so the term keeps pushing "
            "against a balanced router.",
            "version: 1\nmodel: {num_experts: 8}\nterms:\n  moe_balance_loss: {target_expert_usage: 0.25}",
            "version: 1\nmodel: {num_experts: 8}\nterms:\n  moe_balance_loss: {target_expert_usage: 0.125}",
        ),
        _unreachable_usage,
    ),
    ConfigRule(
        "AVA318",
        "no-routing",
        "warning",
        documentation(
            "Finds a term about experts where the router has no choice: one expert, or a `top_k` that takes all.",
            "The load is even whatever the router does, so the term is constant.",
            "version: 1\nmodel: {num_experts: 2, top_k: 2}\nterms:\n  moe_balance_loss: {weight: 0.1}",
            "version: 1\nmodel: {num_experts: 8, top_k: 2}\nterms:\n  moe_balance_loss: {weight: 0.1}",
        ),
        _no_routing,
    ),
    ConfigRule(
        "AVA319",
        "idle-accumulation",
        "info",
        documentation(
            "Finds `gradient_accumulation_steps` where nothing depends on the optimizer's steps: no scheduled weight, "
            "no adaptive temperature, no balancing that remembers loads.",
            "The field only says how many forward passes make a step. Whoever expects it to divide the loss trains "
            "with a gradient that is too large by that factor.",
            "version: 1\nreduction: {gradient_accumulation_steps: 8}",
            "version: 1\nprimary: {type: deepseek, temperature: {adaptive: true}}\n"
            "reduction: {gradient_accumulation_steps: 8}",
        ),
        _idle_accumulation,
    ),
    ConfigRule(
        "AVA320",
        "idle-compile-field",
        "info",
        documentation(
            "Finds `compile.backend` or `compile.mode` where nothing is compiled, or a `mode` with a backend that has "
            "none.",
            "The field has no effect, and a reader is led to believe that the loss is compiled that way.",
            "version: 1\ncompile: {enabled: false, mode: max-autotune}",
            "version: 1\ncompile: {enabled: true, mode: max-autotune}",
        ),
        _idle_compile_fields,
    ),
)
