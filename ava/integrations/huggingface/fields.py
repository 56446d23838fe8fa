"""What a model's configuration says of the fields of ``model:``."""

from __future__ import annotations

from typing import Any

from torch import nn

from ava.integrations.huggingface.watch import inner_model

__all__ = ["head_scaling", "model_fields"]

_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_SOFTCAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
_FACTORS = ("logit_scale", "output_multiplier", "lm_head_multiplier")


def model_fields(model: nn.Module) -> dict[str, Any]:
    """Return the fields of ``model:`` that a transformers model fixes.

    For ``Loss.load("standard", **model_fields(model))``: the vocabulary (with its padding), the hidden size, special
    tokens, experts, and what the model does to its logits. What the model does not say is left out.
    """
    inner: Any = inner_model(model)
    config = inner.config
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    fields: dict[str, Any] = {"vocab_size": text.vocab_size, "hidden_size": getattr(text, "hidden_size", None)}
    head = inner.get_output_embeddings() if hasattr(inner, "get_output_embeddings") else None
    width = getattr(getattr(head, "weight", None), "shape", (text.vocab_size,))[0]
    if width > text.vocab_size:
        fields["padded_vocab_size"] = width
    elif width < text.vocab_size:
        fields["vocab_size"] = width
    for name in ("eos_token_id", "pad_token_id"):
        token = getattr(text, name, None)
        token = token[0] if isinstance(token, (list, tuple)) and token else token
        fields[name] = token if isinstance(token, int) and 0 <= token < fields["vocab_size"] else None
    fields["num_experts"] = next((found for name in _EXPERTS if (found := getattr(text, name, None))), None)
    if fields["num_experts"]:
        fields["top_k"] = getattr(text, "num_experts_per_tok", None)
    scale, softcap = head_scaling(text)
    fields["logit_scale"] = None if scale == 1.0 else scale
    fields["logit_softcap"] = softcap
    return {name: value for name, value in fields.items() if value is not None}


def head_scaling(config: Any) -> tuple[float, float | None]:
    """Return the factor that a model puts on its logits, and their softcap or None, as its configuration names them."""
    softcap = next((found for name in _SOFTCAPS if (found := getattr(config, name, None))), None)
    scale = next((found for name in _FACTORS if (found := getattr(config, name, None)) is not None), None)
    if scale is None and getattr(config, "logits_scaling", None):
        scale = 1 / config.logits_scaling
    return 1.0 if scale is None else float(scale), None if softcap is None else float(softcap)
