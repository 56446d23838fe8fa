"""What a dry run needs to know of the model and the configuration does not say: small values, each of them told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ava.config import Config
from ava.plan import Plan
from ava.plan.plan import Engine

__all__ = ["Filled", "fill"]

VOCABULARY, HIDDEN, EXPERTS = 1024, 64, 8


@dataclass(frozen=True)
class Filled:
    """A configuration that can be run, and what was filled in or moved for that, a sentence each."""

    config: Config
    notes: tuple[str, ...]


def fill(config: Config, *, vocab_size: int | None = None, compiled: bool = True, engine: Engine = "logits") -> Filled:
    """Return ``config`` with every size that a run needs.

    ``vocab_size`` takes the place of the configuration's; special tokens beyond it are moved inside. ``compiled=False``
    switches the compiler off. The engine ``linear`` has a head of its own, so it needs a hidden size.

    >>> from ava import Config
    >>> fill(Config.load({"version": 1, "terms": {"eos_penalty": {}}}), vocab_size=100).notes
    ('filled in: model.vocab_size 100, model.eos_token_id 99',)
    """
    plan, model = Plan(config), config.model
    added: dict[str, Any] = {}
    moved: list[str] = []
    size = vocab_size or model.vocab_size or VOCABULARY
    if model.vocab_size is None:
        added["vocab_size"] = size
    changed: dict[str, Any] = {} if size == model.vocab_size or model.vocab_size is None else {"vocab_size": size}
    if changed:
        moved.append(f"model.vocab_size: {model.vocab_size} → {size}, as asked")
    if model.padded_vocab_size is not None and (changed or model.padded_vocab_size < size):
        padding = max(model.padded_vocab_size - (model.vocab_size or size), 0)
        changed["padded_vocab_size"] = size + padding
        moved.append(f"model.padded_vocab_size: {model.padded_vocab_size} → {size + padding}, to fit")
    tokens = {name: getattr(model, name) for name in ("eos_token_id", "pad_token_id")}
    places: dict[int, int] = {}
    for name, token in tokens.items():
        if token is not None and token >= size:
            inside = places.setdefault(token, _free(size, tokens, places))
            changed[name] = inside
            moved.append(f"model.{name}: {token} → {inside}, inside the vocabulary of {size}")
    required = {*plan.required_model, *_implied(plan)} | ({"hidden_size"} if engine == "linear" else set())
    if "eos_token_id" in required and tokens["eos_token_id"] is None:
        added["eos_token_id"] = _free(size, tokens, places)
    if "hidden_size" in required and model.hidden_size is None:
        added["hidden_size"] = HIDDEN
    if "num_experts" in required and model.num_experts is None:
        usage = getattr(getattr(config.terms, "moe_balance_loss", None), "target_expert_usage", None)
        added["num_experts"] = len(usage) if isinstance(usage, tuple) else max(EXPERTS, model.top_k)
    overrides = {f"model.{name}": value for name, value in (added | changed).items()}
    if not compiled:
        overrides["compile.enabled"] = False
    notes = [f"filled in: {', '.join(f'model.{name} {value}' for name, value in added.items())}"] if added else []
    return Filled(
        Config.load(config, overrides=overrides) if overrides else config,
        (*notes, *(f"moved: {text}" for text in moved)),
    )


def _free(size: int, tokens: dict[str, int | None], places: dict[int, int]) -> int:
    """Return the last token that no other special one has."""
    taken = {token for token in tokens.values() if token is not None and token < size} | set(places.values())
    return next((token for token in range(size - 1, -1, -1) if token not in taken), size - 1)


def _implied(plan: Plan) -> set[str]:
    """Return the sizes that drawing the inputs takes."""
    names = set(plan.inputs)
    sizes = {"hidden_size"} if names & {"hidden_states", "mtp_hidden_states", "lm_head", "expert_outputs"} else set()
    return sizes | ({"num_experts"} if names & {"gate_logits", "expert_indices", "expert_outputs"} else set())
