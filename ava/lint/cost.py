"""AVA4xx: what costs time or memory without need. A term's own cost rules stand beside the term."""

from __future__ import annotations

from collections.abc import Iterator

from ava.errors import documentation
from ava.lint.subject import ConfigRule, Subject
from ava.terms.advice import Advice, Project

__all__ = ["RULES"]

MANY_PARAMETERS = 20_000_000  # of heads: from here on their optimizer state is hundreds of megabytes
MANY_BYTES = 4 * 2**30
FEW_ROWS = 64
_MTP = ("terms", "mtp_loss")
_HEADS = ("heads", "num_future_tokens")
_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


def _head_memory(subject: Subject) -> Iterator[Advice]:
    model, term = subject.config.model, subject.config.terms.mtp_loss
    width = model.padded_vocab_size or model.vocab_size
    if term is None or term.heads != "linear" or term.num_future_tokens < 2 or not width or not model.hidden_size:
        return
    one = width * model.hidden_size
    saved = (term.num_future_tokens - 1) * one
    if saved >= MANY_PARAMETERS:
        yield Advice(
            f"`mtp_loss` has {term.num_future_tokens} projections to the vocabulary, {term.num_future_tokens * one:,} "
            f"parameters; `heads: shared` needs one of them, `heads: tied` none",
            (*_MTP, "heads") if subject.says(*_MTP, "heads") else _MTP,
            (*(("model", name) for name in ("hidden_size", "vocab_size")), *((*_MTP, name) for name in _HEADS)),
            key=True,
        )


def _small_chunk(subject: Subject) -> Iterator[Advice]:
    chunk = subject.config.compile.chunk_tokens
    if isinstance(chunk, int) and chunk < FEW_ROWS:
        yield Advice(
            f"`chunk_tokens` {chunk}: so few rows at a time spend more on calls than on arithmetic; write `auto`, or "
            "128 to 512 on a CPU and 2048 to 4096 on a GPU",
            ("compile", "chunk_tokens"),
        )


def _single_chunk(subject: Subject) -> Iterator[Advice]:
    chunk, tokens = subject.config.compile.chunk_tokens, subject.project.tokens
    if isinstance(chunk, int) and chunk >= FEW_ROWS and tokens is not None and chunk >= tokens > 512:
        yield Advice(
            f"`chunk_tokens` {chunk:,} holds all {tokens:,} rows of a batch, so all logits exist at once; write "
            "`auto`, or a smaller number",
            ("compile", "chunk_tokens"),
        )


def _full_checks(subject: Subject) -> Iterator[Advice]:
    if subject.config.compile.checks == "full":
        yield Advice(
            "`checks: full` waits for the device in every call; write `cheap` once the data is known to be right",
            ("compile", "checks"),
        )


def _uncompiled(subject: Subject) -> Iterator[Advice]:
    settings = subject.config.compile
    if settings.enabled is False or settings.backend == "eager":
        name = "enabled" if settings.enabled is False else "backend"
        word = str(getattr(settings, name)).lower()
        instead = "auto" if name == "enabled" else "inductor"
        yield Advice(
            f"`compile.{name}: {word}` leaves the loss uncompiled, which is several times slower; write `{instead}` "
            "after debugging",
            ("compile", name),
        )


def _logits_memory(subject: Subject) -> Iterator[Advice]:
    model, tokens = subject.config.model, subject.project.tokens
    width = model.padded_vocab_size or model.vocab_size
    if tokens is None or width is None:
        return
    size = tokens * width * _BYTES[subject.project.dtype or "float32"]
    if size >= MANY_BYTES:
        yield Advice(
            f"the logits of a batch take {(size + 2**29) // 2**30:,} GiB, and their gradient as much again; give calls "
            "`hidden_states` and `lm_head` instead, and they are never all there at once",
            ("model", "padded_vocab_size" if model.padded_vocab_size else "vocab_size"),
        )


RULES = (
    ConfigRule(
        "AVA402",
        "head-memory",
        "info",
        documentation(
            "Finds `mtp_loss` with `heads: linear`, and so many parameters in its projections that sharing them saves "
            "20 million or more.",
            "Every head projects to the whole vocabulary on its own. With AdamW a parameter takes sixteen bytes, and "
            "these are thrown away after training. Shared heads differ in a small block only.",
            "version: 1\nmodel: {vocab_size: 50257, hidden_size: 768}\nterms:\n  mtp_loss: {num_future_tokens: 3}",
            "version: 1\nmodel: {vocab_size: 50257, hidden_size: 768}\nterms:\n"
            "  mtp_loss: {num_future_tokens: 3, heads: shared}",
        ),
        _head_memory,
    ),
    ConfigRule(
        "AVA403",
        "small-chunk",
        "info",
        documentation(
            "Finds `chunk_tokens` below 64.",
            "Chunks bound the memory that logits take where the loss does the head itself. Tiny ones save nothing "
            "worth having, and the calls between them take longer than the arithmetic.",
            "version: 1\ncompile: {chunk_tokens: 8}",
            "version: 1\ncompile: {chunk_tokens: auto}",
        ),
        _small_chunk,
    ),
    ConfigRule(
        "AVA404",
        "single-chunk",
        "info",
        documentation(
            "Finds `chunk_tokens` that hold a whole batch: `sequence_length` times `batch_size` of `[tool.ava-loss]`.",
            "The logits of all positions then exist at the same time, which chunks are there to avoid.",
            "version: 1\ncompile: {chunk_tokens: 65536}",
            "version: 1\ncompile: {chunk_tokens: auto}",
        ),
        _single_chunk,
        Project(sequence_length=2048, batch_size=8),
    ),
    ConfigRule(
        "AVA405",
        "full-checks",
        "info",
        documentation(
            "Finds `checks: full`.",
            "Looking at every target means waiting for the device in every call, so it and the host no longer work at "
            "the same time. It is right for the first steps on new data.",
            "version: 1\ncompile: {checks: full}",
            "version: 1\ncompile: {checks: cheap}",
        ),
        _full_checks,
    ),
    ConfigRule(
        "AVA406",
        "uncompiled",
        "info",
        documentation(
            "Finds a loss that is not compiled: `compile.enabled: false`, or `backend: eager`.",
            "Uncompiled, each number of each row makes its own pass over the vocabulary, several times slower. It is "
            "easily left behind after debugging.",
            "version: 1\ncompile: {enabled: false}",
            "version: 1\ncompile: {enabled: auto}",
        ),
        _uncompiled,
    ),
    ConfigRule(
        "AVA407",
        "logits-memory",
        "info",
        documentation(
            "Finds logits of 4 GiB or more: `sequence_length` × `batch_size` of `[tool.ava-loss]`, times the "
            "vocabulary, times the bytes of `dtype` (4 where that is not set).",
            "Logits and their gradient are then most of the memory of a step. Given `hidden_states` and `lm_head`, the "
            "loss computes them in chunks, which is also faster.",
            "version: 1\nmodel: {vocab_size: 128256}  # rows of 8192 tokens, 8 of them",
            "version: 1\nmodel: {vocab_size: 32000}  # or `hidden_states` in the calls, and a suppression comment here",
        ),
        _logits_memory,
        Project(sequence_length=8192, batch_size=8, dtype="bfloat16"),
    ),
)
