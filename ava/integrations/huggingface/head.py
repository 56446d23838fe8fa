"""The model's head as a weight, so that the loss can do the head itself: plain, saved whole by PEFT, or with LoRA."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ava.compile.heads import head_logits
from ava.config.model import Model
from ava.errors import ArgumentValueError
from ava.integrations.huggingface.fields import head_scaling

__all__ = ["check_agreement", "check_scaling", "head_weight"]

_ELSE = "Leave the engine at `logits`."


def head_weight(model: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Return the weight ``[V, H]`` and the bias ``[V]`` of a transformers model's head, connected to what is trained.

    With LoRA on the head the weight is ``W + Σ scaling · B A``, so the gradient reaches ``A`` and ``B``.

    Raises:
        ArgumentValueError: the head is not a linear map with a whole weight (DoRA, LoRA with dropout, quantized,
            sharded).
    """
    head: Any = model.get_output_embeddings()  # type: ignore[operator]
    saved: Any = getattr(head, "modules_to_save", None)
    if isinstance(saved, nn.ModuleDict) and not getattr(head, "disable_adapters", False):
        active = [name for name in head.active_adapters if name in saved]
        head = saved[active[0]] if active else head.original_module
    if isinstance(getattr(head, "lora_A", None), nn.ModuleDict):
        return _with_lora(head)
    return _plain(head)


def _plain(head: Any) -> tuple[Tensor, Tensor | None]:
    weight = getattr(head, "weight", None)
    if not isinstance(head, nn.Linear) or not isinstance(weight, Tensor):
        raise ArgumentValueError(f"The model's head should be a linear layer, but is {type(head).__name__}. {_ELSE}")
    if not weight.is_floating_point() or tuple(weight.shape) != (head.out_features, head.in_features):
        raise ArgumentValueError(
            f"The model's head should hold its weight [{head.out_features}, {head.in_features}] in floating point, "
            f"but it is quantized or sharded ({str(weight.dtype).removeprefix('torch.')} {list(weight.shape)}). {_ELSE}"
        )
    if hasattr(weight, "full_tensor"):
        raise ArgumentValueError(f"The model's head is sharded over ranks (a DTensor). {_ELSE}")
    return weight, head.bias


def _with_lora(head: Any) -> tuple[Tensor, Tensor | None]:
    weight, bias = _plain(head.get_base_layer())
    if head.disable_adapters or head.merged:
        return weight, bias
    for adapter in head.active_adapters:
        if adapter not in head.lora_A:
            continue
        dropout = getattr(head.lora_dropout[adapter], "p", 0.0)
        if getattr(head, "lora_variant", {}).get(adapter) is not None or getattr(head, "use_dora", {}).get(adapter):
            raise ArgumentValueError(f"The head's adapter `{adapter}` is a variant of LoRA, not W + BA. {_ELSE}")
        if dropout and head.training:
            raise ArgumentValueError(
                f"The head's LoRA has dropout ({dropout}) on its input, which no weight can express: leave the head "
                f"out of `target_modules`, or set `lora_dropout=0`. {_ELSE}"
            )
        if head.lora_B[adapter].bias is not None:
            extra = head.lora_B[adapter].bias * head.scaling[adapter]
            bias = extra if bias is None else bias + extra
        weight = weight + head.get_delta_weight(adapter).to(weight.dtype)
    return weight, bias


def check_scaling(fields: Model, config: Any) -> None:
    """Raise ArgumentValueError where the loss would scale or cap the logits otherwise than the model does."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    scale, softcap = head_scaling(text)
    if abs(fields.logit_scale - scale) > 1e-6 * scale or fields.logit_softcap != softcap:
        raise ArgumentValueError(
            f"The model has `logit_scale` {scale:g} and `logit_softcap` {_or_null(softcap)}, the loss's configuration "
            f"{fields.logit_scale:g} and {_or_null(fields.logit_softcap)}: the loss would not see the model's logits. "
            "Set both in `model:`, or load it with `Loss.load(…, **model_fields(model))`."
        )


def _or_null(value: float | None) -> str:
    return "null" if value is None else f"{value:g}"


@torch.no_grad()
def check_agreement(hidden: Tensor, weight: Tensor, bias: Tensor | None, logits: Tensor, fields: Model) -> None:
    """Raise ArgumentValueError unless the head on ``hidden`` gives the model's own logits (synchronises).

    Args:
        hidden: what the loss takes for the head's input, ``[B, T, H]``.
        weight: ``[V, H]``.
        bias: ``[V]`` or None.
        logits: the model's own, of the last position, ``[B, 1, V]``.
        fields: what the configuration says of the head.
    """
    made = head_logits(hidden[:, -1:], weight, bias, fields.logit_scale, fields.logit_softcap).float()
    model = logits[:, -1:].float()
    rounding = 1e-3 if hidden.dtype in (torch.float32, torch.float64) else 5e-2
    if made.shape != model.shape or not bool(((made - model).abs() <= rounding * (1 + model.abs().max())).all()):
        raise ArgumentValueError(
            "The model's logits are not its head on its last hidden states: it does something between or after them "
            f"that the loss does not know of. {_ELSE}"
        )
