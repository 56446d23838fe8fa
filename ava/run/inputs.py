"""Checks of a call's tensors, before any kernel runs: from shapes and dtypes only, so nothing synchronises."""

from __future__ import annotations

import torch
from torch import Tensor

from ava.errors import ArgumentTypeError, ArgumentValueError, TargetIndexError

__all__ = [
    "as_items",
    "as_layers",
    "check_device",
    "check_float",
    "check_logits",
    "check_mask",
    "check_states",
    "check_target_range",
    "check_tensor",
    "check_tokens",
    "describe",
    "rows_of",
]

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def describe(value: object) -> str:
    """Say what came: a shape and dtype for a tensor, a type otherwise."""
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor {list(value.shape)}"
    return "None" if value is None else f"{type(value).__name__}"


def check_tensor(name: str, value: object, expected: str) -> Tensor:
    """Return the tensor, or raise ArgumentTypeError; ArgumentValueError where there is nothing."""
    if value is None:
        raise ArgumentValueError(f"`{name}` should be {expected}, but is None.")
    if not isinstance(value, Tensor):
        raise ArgumentTypeError(f"`{name}` should be {expected}, but is {describe(value)}.")
    return value


def check_float(name: str, value: Tensor, expected: str) -> None:
    """Raise ArgumentValueError unless the tensor is floating point."""
    if not value.is_floating_point():
        raise ArgumentValueError(f"`{name}` should be {expected} of a floating-point dtype, but is {describe(value)}.")


def check_logits(logits: object, vocab_size: int | None, padded: int | None) -> Tensor:
    """Return the logits as ``[B, T, W]``."""
    expected = "logits [B, T, V] or [N, V]"
    tensor = check_tensor("logits", logits, expected)
    check_float("logits", tensor, expected)
    if tensor.ndim not in (2, 3):
        raise ArgumentValueError(f"`logits` should be {expected}, but is {describe(tensor)}.")
    width = padded or vocab_size
    if width is not None and tensor.shape[-1] != width:
        field = "model.padded_vocab_size" if padded else "model.vocab_size"
        hint = "" if padded else " Set `model.padded_vocab_size` if the model's output is wider than its vocabulary."
        raise ArgumentValueError(f"`logits` should have {width} columns (`{field}`), but is {describe(tensor)}.{hint}")
    if tensor.shape[-1] == 0:
        raise ArgumentValueError(f"`logits` should have at least one column, but is {describe(tensor)}.")
    return tensor.unsqueeze(0) if tensor.ndim == 2 else tensor


def rows_of(name: str, value: Tensor, shape: tuple[int, int], like: str = "logits") -> Tensor:
    """Return a tensor of positions as ``[B, T]``; ``[T]`` stands for one row."""
    tensor = value.unsqueeze(0) if value.ndim == 1 and shape[0] == 1 else value
    if tuple(tensor.shape) != shape:
        batch, length = shape
        raise ArgumentValueError(
            f"`{name}` should be [B, T] = [{batch}, {length}] to match `{like}`, but is {describe(value)}."
        )
    return tensor


def check_tokens(name: str, value: object, shape: tuple[int, int], device: torch.device, like: str) -> Tensor:
    """Return token ids, or other integers per position, as ``[B, T]`` int64."""
    tensor = check_tensor(name, value, "an integer tensor [B, T]")
    if tensor.dtype not in _INTEGERS:
        raise ArgumentValueError(f"`{name}` should hold integers (int64), but is {describe(tensor)}.")
    check_device(name, tensor, device, like)
    return rows_of(name, tensor, shape, like).long()


def check_mask(name: str, value: object, shape: tuple[int, int], device: torch.device, like: str) -> Tensor:
    """Return a mask as ``[B, T]`` of any real dtype: 0 is padding."""
    tensor = check_tensor(name, value, "a mask [B, T] of 0 and 1")
    if tensor.is_complex():
        raise ArgumentValueError(f"`{name}` should be a mask [B, T] of 0 and 1, but is {describe(tensor)}.")
    check_device(name, tensor, device, like)
    return rows_of(name, tensor, shape, like)


def check_device(name: str, tensor: Tensor, device: torch.device, like: str) -> None:
    """Raise ArgumentValueError unless the tensor is where the logits are."""
    if tensor.device != device:
        raise ArgumentValueError(f"`{name}` should be on {device} like `{like}`, but is on {tensor.device}.")


def check_states(name: str, value: object, leading: tuple[int, ...], device: torch.device, last: str) -> Tensor:
    """Return a floating-point tensor ``[*leading, last]``; a missing batch dimension of 1 is added."""
    shown = ", ".join(str(size) for size in leading)
    expected = f"a tensor [{shown}, {last}]"
    tensor = check_tensor(name, value, expected)
    check_float(name, tensor, expected)
    check_device(name, tensor, device, "logits")
    if tensor.ndim == len(leading) and leading[-2] == 1:
        tensor = tensor.unsqueeze(-3)
    if tensor.ndim != len(leading) + 1 or tuple(tensor.shape[:-1]) != leading:
        raise ArgumentValueError(f"`{name}` should be {expected}, but is {describe(value)}.")
    return tensor


def as_layers(name: str, value: object, rows: int, device: torch.device, last: str) -> Tensor:
    """Return ``[L, N, last]`` from a tensor ``[..., last]`` or a sequence of one per layer."""
    layers = list(value) if isinstance(value, (list, tuple)) else [value]
    if not layers:
        raise ArgumentValueError(f"`{name}` should hold at least one layer, but is empty.")
    flat = []
    for index, layer in enumerate(layers):
        which = name if len(layers) == 1 else f"{name}[{index}]"
        tensor = check_tensor(which, layer, f"a tensor [..., {last}]")
        check_device(which, tensor, device, "logits")
        if tensor.ndim < 2 or tensor.shape[:-1].numel() != rows:
            raise ArgumentValueError(
                f"`{which}` should be [..., {last}] with B * T = {rows} leading entries, but is {describe(tensor)}."
            )
        flat.append(tensor.reshape(rows, tensor.shape[-1]))
    if len({tensor.shape[-1] for tensor in flat}) > 1:
        sizes = ", ".join(str(tensor.shape[-1]) for tensor in flat)
        raise ArgumentValueError(f"`{name}` should have one {last} for all layers, but its layers have {sizes}.")
    return flat[0].unsqueeze(0) if len(flat) == 1 else torch.stack(flat)


def as_items(num_items: object, device: torch.device) -> Tensor | None:
    """Return the normaliser as a 0-d float64 tensor on the device, without reading it."""
    if num_items is None:
        return None
    if isinstance(num_items, Tensor):
        if num_items.numel() != 1:
            raise ArgumentValueError(f"`num_items` should be a number or a 0-d tensor, but is {describe(num_items)}.")
        if num_items.is_complex() or num_items.dtype == torch.bool:
            raise ArgumentValueError(f"`num_items` should be a number of tokens, but is {describe(num_items)}.")
        # a copy to the host is waited for: it would be read before it is there
        waits = device.type == "cpu"
        return num_items.detach().reshape(()).to(device=device, dtype=torch.float64, non_blocking=not waits)
    if isinstance(num_items, bool) or not isinstance(num_items, (int, float)):
        raise ArgumentTypeError(f"`num_items` should be a number or a 0-d tensor, but is {describe(num_items)}.")
    if not 0 <= num_items < float("inf"):
        raise ArgumentValueError(f"`num_items` should be a finite number of tokens, 0 or more, but is {num_items}.")
    return torch.full((), float(num_items), dtype=torch.float64, device=device)


def check_target_range(targets: Tensor, valid: Tensor, vocab_size: int) -> None:
    """Raise TargetIndexError for a valid target outside the vocabulary (synchronises; ``checks: full``).

    ``targets`` and ``valid`` are ``[B, T]``, aligned with the predictions.
    """
    wrong = valid & ((targets < 0) | (targets >= vocab_size))
    if bool(wrong.any()):
        row, position = (int(i) for i in wrong.nonzero()[0])
        raise TargetIndexError(
            f"`targets` holds {int(targets[row, position])} for the prediction at row {row}, position {position}; it "
            f"should be in [0, {vocab_size}), or the `ignore_index`. {int(wrong.sum())} positions are out of range."
        )
