"""AVA3xx about the special tokens: which token ends a document, which one fills a row, which one is left out."""

from __future__ import annotations

from collections.abc import Iterator

from ava.errors import documentation
from ava.lint.subject import ConfigRule, Subject
from ava.terms.advice import Advice

__all__ = ["RULES"]

_EOS = ("model", "eos_token_id")
_PAD = ("model", "pad_token_id")


def _missing_eos(subject: Subject) -> Iterator[Advice]:
    config = subject.config
    if config.model.eos_token_id is not None or not subject.describes_model:
        return
    for term in config.enabled:
        if "eos_token_id" in term.needs().model:
            yield Advice(
                f"`{term.name}` needs `model.eos_token_id`, and this file describes its model without it; add "
                "`eos_token_id` under `model`",
                ("terms", term.name),
                (("model",),),
                key=True,
            )


def _joined_documents(subject: Subject) -> Iterator[Advice]:
    config = subject.config
    if config.model.eos_token_id is not None or config.terms.eos_penalty or not subject.describes_model:
        return
    names = [name for name in ("immediate_repetition_penalty", "ngram_penalty") if getattr(config.terms, name)]
    if names:
        words = " and ".join(f"`{name}`" for name in names)
        yield Advice(
            f"{words} without `model.eos_token_id`: in packed rows a token of the document before counts as a repeat; "
            "add `eos_token_id` under `model`, or give calls `segment_ids`",
            ("terms", names[0]),
            (("model",),),
            key=True,
        )


def _pad_is_eos(subject: Subject) -> Iterator[Advice]:
    model = subject.config.model
    if model.pad_token_id is not None and model.pad_token_id == model.eos_token_id:
        yield Advice(
            f"`pad_token_id` is the EOS token, {model.pad_token_id}, so it marks nothing as padding; remove it, and "
            f"label padding with {model.ignore_index} or give calls an `attention_mask`",
            _PAD,
            (_EOS,),
        )


def _ignored_token(subject: Subject) -> Iterator[Advice]:
    model = subject.config.model
    index = model.ignore_index
    if index < 0 or (model.vocab_size is not None and index >= model.vocab_size):
        return
    if index == model.eos_token_id:
        yield Advice(
            f"`ignore_index` is the EOS token, {index}, so the model never learns to end; write -100",
            ("model", "ignore_index"),
            (_EOS,),
        )
    elif index != model.pad_token_id:
        yield Advice(
            f"`ignore_index` {index} is a token of the vocabulary, which the model then never learns; write -100, or "
            f"`pad_token_id: {index}` if that token is padding",
            ("model", "ignore_index"),
            (_PAD, ("model", "vocab_size")),
        )


def _idle_padding(subject: Subject) -> Iterator[Advice]:
    model = subject.config.model
    if model.padded_vocab_size is not None and model.padded_vocab_size == model.vocab_size:
        yield Advice(
            "`padded_vocab_size` equals `vocab_size`, so no column is padding; remove it",
            ("model", "padded_vocab_size"),
            (("model", "vocab_size"),),
            idle=True,
        )


RULES = (
    ConfigRule(
        "AVA304",
        "missing-eos",
        "warning",
        documentation(
            "Finds `eos_penalty` (or another term that asks for `eos_token_id`) in a configuration that describes its "
            "model with `vocab_size` or `hidden_size` and lacks `eos_token_id`. One that says nothing about its model, "
            "as the presets do, leaves that to the caller.",
            "Unless the training script fills the gap, the loss cannot be built.",
            "version: 1\nmodel: {vocab_size: 50257}\nterms:\n  eos_penalty: {weight: 0.05}",
            "version: 1\nmodel: {vocab_size: 50257, eos_token_id: 50256}\nterms:\n  eos_penalty: {weight: 0.05}",
        ),
        _missing_eos,
    ),
    ConfigRule(
        "AVA305",
        "joined-documents",
        "info",
        documentation(
            "Finds a repetition penalty in a configuration that describes its model and lacks `eos_token_id`.",
            "Without it, and without `segment_ids` in the calls, a row is taken for one document. Where rows are "
            "packed, the penalty then looks back into the document before. Rows of one document each are not affected.",
            "version: 1\nmodel: {vocab_size: 50257}\nterms:\n  ngram_penalty: {weight: 0.1}",
            "version: 1\nmodel: {vocab_size: 50257, eos_token_id: 50256}\nterms:\n  ngram_penalty: {weight: 0.1}",
        ),
        _joined_documents,
    ),
    ConfigRule(
        "AVA306",
        "pad-is-eos",
        "warning",
        documentation(
            "Finds a `pad_token_id` that is the EOS token's.",
            "Targets equal to the padding token are ignored, unless it is the EOS token too: ignoring that would keep "
            "the model from learning to end. So here the field has no effect, and every padded position counts as "
            "an end of sequence.",
            "version: 1\nmodel: {eos_token_id: 50256, pad_token_id: 50256}",
            "version: 1\nmodel: {eos_token_id: 50256, ignore_index: -100}  # label padding with -100",
        ),
        _pad_is_eos,
    ),
    ConfigRule(
        "AVA307",
        "ignored-token",
        "warning",
        documentation(
            "Finds an `ignore_index` that is a token of the vocabulary and not its padding.",
            "Every position with that token as its target is left out, so the model never learns to say it.",
            "version: 1\nmodel: {ignore_index: 0}",
            "version: 1\nmodel: {ignore_index: -100}",
        ),
        _ignored_token,
    ),
    ConfigRule(
        "AVA308",
        "idle-padding",
        "info",
        documentation(
            "Finds a `padded_vocab_size` that equals `vocab_size`.",
            "It says that the logits are wider than the vocabulary, and they are not. A file should say what it does.",
            "version: 1\nmodel: {vocab_size: 50304, padded_vocab_size: 50304}",
            "version: 1\nmodel: {vocab_size: 50304}",
        ),
        _idle_padding,
    ),
)
