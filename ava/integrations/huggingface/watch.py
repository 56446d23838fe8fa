"""What a model's forward read and made, kept until the loss of that forward is computed."""

from __future__ import annotations

import inspect
import weakref
from typing import Any

import torch
from torch import Tensor, nn

from ava.errors import ArgumentTypeError, ArgumentValueError

__all__ = ["Watch", "field", "inner_model"]


_WATCHES: weakref.WeakKeyDictionary[nn.Module, weakref.ref[Watch]] = weakref.WeakKeyDictionary()


def field(outputs: Any, name: str) -> Any:
    """Return a field of a model's output (a mapping, or any object), or None."""
    if isinstance(outputs, dict):
        return outputs.get(name)
    return getattr(outputs, name, None)


def inner_model(model: nn.Module) -> nn.Module:
    """Return the transformers model inside wrappers (DDP, ``torch.compile``, PEFT)."""
    while True:
        if isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod  # type: ignore[assignment]
        elif hasattr(model, "no_sync") and isinstance(getattr(model, "module", None), nn.Module):
            model = model.module  # type: ignore[assignment]
        elif callable(getattr(model, "get_base_model", None)):
            model = model.get_base_model()  # type: ignore[operator]
        else:
            return model


class Watch:
    """Hooks on a model: the batch it reads, what its backbone answers, and, if asked, no logits.

    Everything is held from one forward until :meth:`take`, or until the next forward. A model has one watch: a new one
    stops the one before.

    Args:
        model: what the trainer trains: a transformers model, or a PEFT model around one.
        keep_hidden: whether the backbone's last hidden states are kept.
        skip_logits: whether training forwards without labels make the last position's logits only.
        with_labels: whether forwards with ``labels`` are watched (the loss is called inside the forward), or those
            without (the trainer takes the labels out and calls the loss afterwards).
    """

    def __init__(self, model: nn.Module, *, keep_hidden: bool, skip_logits: bool, with_labels: bool) -> None:
        if not isinstance(model, nn.Module):
            raise ArgumentTypeError(f"`model` should be the model that is trained, but is {type(model).__name__}.")
        while isinstance(getattr(model, "_orig_mod", None), nn.Module) or hasattr(model, "no_sync"):
            model = getattr(model, "_orig_mod", None) or model.module  # type: ignore[assignment]
        self.model = model
        self.inner = inner_model(model)
        self.backbone = getattr(self.inner, "base_model", self.inner)
        if getattr(getattr(self.inner, "config", None), "is_encoder_decoder", False):
            raise ArgumentValueError(
                "`model` should be a decoder-only language model: an encoder-decoder's labels are not shifted. Compute "
                "its loss in your own `compute_loss`, with `targets.shift: false`."
            )
        self.keep_hidden = keep_hidden
        self.skip_logits = skip_logits
        self.with_labels = with_labels
        self._names = list(inspect.signature(type(self.inner).forward).parameters)[1:]
        if skip_logits and "logits_to_keep" not in self._names:
            raise ArgumentValueError(
                f'`engine="linear"` needs a model whose forward takes `logits_to_keep`; {type(self.inner).__name__}\'s '
                "does not. Leave the engine at `logits`."
            )
        if (keep_hidden or skip_logits) and self.backbone is self.inner:
            raise ArgumentValueError(
                f"{type(self.inner).__name__} has no backbone apart from its head, so its hidden states cannot be "
                "read. Leave the engine at `logits`, and pass no `model` to read them from `outputs.hidden_states`."
            )
        self.calls = 0
        self._clear()
        earlier = _WATCHES.get(model)
        previous = None if earlier is None else earlier()
        if previous is not None:
            previous.stop()
        _WATCHES[model] = weakref.ref(self)
        self._hooks = [
            model.register_forward_pre_hook(self._before, with_kwargs=True),
            self.backbone.register_forward_hook(self._after_backbone),
        ]

    def stop(self) -> None:
        """Remove the hooks: a later loss watches the model."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _clear(self) -> None:
        self.open = False
        self.read: dict[str, Any] = {}
        self.hidden: Tensor | None = None
        self.router_logits: Any = None
        self.autocast: torch.dtype | None = None
        self.skipped = False

    def _before(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._clear()
        self.calls += 1
        if (kwargs.get("labels") is not None) != self.with_labels:
            return None
        self.open = True
        given = {**dict(zip(self._names, args, strict=False)), **kwargs}
        self.read = {name: value for name, value in given.items() if name != "labels" and value is not None}
        if self.skip_logits and self.model.training and torch.is_grad_enabled() and "logits_to_keep" not in given:
            self.skipped = True
            return args, {**kwargs, "logits_to_keep": 1}
        return None

    def _after_backbone(self, _: nn.Module, __: Any, output: Any) -> None:
        if not self.open:
            return
        self.router_logits = field(output, "router_logits")
        if self.keep_hidden or self.skipped:
            found = output[0] if isinstance(output, tuple) else field(output, "last_hidden_state")
            self.hidden = found if isinstance(found, Tensor) else None
            kind = "cpu" if self.hidden is None else self.hidden.device.type
            self.autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None

    def take(self) -> dict[str, Any]:
        """Return what the last forward was given, by name, and keep nothing of it.

        Raises:
            ArgumentValueError: the trainer called another model.
        """
        if not self._hooks:
            raise ArgumentValueError(
                "The `model` was given to another loss since: make the function once for a model, or again for each "
                "use of it."
            )
        if not self.calls:
            raise ArgumentValueError(
                "The `model` that the loss was given was not called. Pass the one that the trainer trains (with PEFT, "
                "the wrapped one), or make the trainer first and call `install(trainer, loss)`."
            )
        read, self.read, self.open = self.read, {}, False
        return read

    def take_hidden(self) -> Tensor | None:
        """Return what the head reads, ``[B, T, H]``, in the dtype in which the head would have run."""
        hidden, self.hidden = self.hidden, None
        return hidden if hidden is None or self.autocast is None else hidden.to(self.autocast)
