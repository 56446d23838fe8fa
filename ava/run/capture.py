"""``Loss.capture``: the tensors of a call, written to a file that ``dry-run`` and ``diagnose`` read.

A safetensors file with the arguments of ``forward`` by name (``logits``, ``targets``, …; of a sequence one tensor per
entry, ``gate_logits.0``), the loss's own parameters as ``parameters/NAME``, and as metadata ``ava-loss`` (the version
of this layout), ``config`` and ``state`` (JSON). A file that somebody else wrote needs only the arguments.
"""

from __future__ import annotations

import inspect
import json
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ava.errors import ArgumentValueError, MissingDependencyError, SourceError, did_you_mean
from ava.run.collect import INPUTS

if TYPE_CHECKING:
    from ava.run.loss import Loss

__all__ = ["ARGUMENTS", "Capture", "CaptureError", "Captured", "capture_call", "read_capture"]

ARGUMENTS = ("logits", "targets", "attention_mask", "input_ids", "segment_ids", *INPUTS, "num_items")
"""Arguments of ``Loss.forward`` that a file may hold."""
_SEQUENCES = ("mtp_logits", "mtp_hidden_states", "gate_logits", "expert_indices", "expert_outputs")
_PARAMETERS = "parameters/"
_LAYOUT = "1"


class CaptureError(ArgumentValueError):
    """A file of captured tensors holds something else than the arguments of a call of the loss."""


class Capture:
    """An order to write the next call of a loss to a file; a context manager, if the call should be in a ``with``.

    Attributes:
        path: the file.
        written: whether it was written.
    """

    def __init__(self, loss: Loss, path: Path) -> None:
        self.path = path
        self.written = False
        self._remove: Callable[[], None] | None = loss.register_forward_pre_hook(self._before, with_kwargs=True).remove

    def _before(self, loss: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if torch.compiler.is_compiling() or self._remove is None:  # inside somebody's graph there are no values
            return
        self.cancel()
        try:
            bound = inspect.signature(loss.forward).bind(*arguments, **keywords)
        except TypeError:  # the call itself says what is wrong with it
            return
        given: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            given.update(value if isinstance(value, dict) else {name: value})
        from safetensors import SafetensorError

        try:
            _write(self.path, loss, given)
            self.written = True
        except (OSError, SafetensorError) as error:
            warnings.warn(f"the call was not captured: {self.path}: {error}", stacklevel=2)

    def cancel(self) -> None:
        """Take the order back, if it was not carried out yet."""
        if self._remove is not None:
            self._remove()
            self._remove = None

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *failure: object) -> None:
        missed = self._remove is not None
        self.cancel()
        if missed and failure[0] is None:
            warnings.warn(f"no call to capture: {self.path} was not written", stacklevel=2)


def capture_call(loss: Loss, path: str | os.PathLike[str]) -> Capture:
    """Write the arguments of the next call of ``loss`` to a file, as they are before it; the call goes on unchanged.

    The file appears whole or not at all, and takes the place of an older one. Writing waits for the device.

    Raises:
        MissingDependencyError: safetensors is not installed.
        SourceError: the folder does not exist.
    """
    _need_safetensors("Loss.capture")
    target = Path(path)
    if not target.parent.is_dir():
        raise SourceError(f"{target}: cannot be written: there is no folder {target.parent}")
    if target.is_dir():
        raise SourceError(f"{target}: cannot be written: it is a folder")
    return Capture(loss, target)


def _write(path: Path, loss: Loss, given: Mapping[str, Any]) -> None:
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    differentiable = []
    for name in ARGUMENTS:
        value = given.get(name)
        if value is None:
            continue
        parts = {f"{name}.{i}": part for i, part in enumerate(value)} if isinstance(value, (list, tuple)) else None
        for key, part in (parts or {name: value}).items():
            number = isinstance(part, (int, float)) and not isinstance(part, bool)
            tensor = torch.tensor(float(part), dtype=torch.float64) if number else part
            if isinstance(tensor, Tensor):
                tensors[key] = _stored(tensor)
                differentiable += [key] if tensor.requires_grad else []
    tensors |= {_PARAMETERS + name: _stored(parameter) for name, parameter in loss.named_parameters()}
    config = loss.config.to_dict()
    state = {
        name: {"dtype": str(buffer.dtype).removeprefix("torch."), "values": buffer.tolist()}
        for name, buffer in loss.state.tensors().items()
    }
    metadata = {
        "ava-loss": _LAYOUT,
        "config": json.dumps(config),
        "state": json.dumps(state),
        "requires_grad": json.dumps(differentiable),
        "training": json.dumps(loss.training),
    }
    part_file = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(tensors, part_file, metadata)
        part_file.replace(path)
    finally:
        part_file.unlink(missing_ok=True)


def _stored(tensor: Tensor) -> Tensor:
    """Return a copy on the CPU that shares its memory with nothing; of a distributed tensor, the whole."""
    whole = getattr(tensor.detach(), "full_tensor", None)
    value: Tensor = tensor.detach() if whole is None else whole()
    return value.to("cpu", copy=True).contiguous()


@dataclass(frozen=True)
class Captured:
    """What a file of captured tensors holds.

    Attributes:
        path: the file.
        inputs: the arguments of the call; a list where a sequence was given. Floating-point tensors that wanted a
            gradient do so again.
        parameters: the loss's own parameters.
        config: the configuration of the loss as plain data, or None where the file has none.
        state: the buffers of the loss's state.
        training: whether the loss was training.
    """

    path: Path
    inputs: dict[str, Any]
    parameters: dict[str, Tensor] = field(default_factory=dict)
    config: dict[str, Any] | None = None
    state: dict[str, Tensor] = field(default_factory=dict)
    training: bool = True

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> dict[str, Any]:
        """Return the inputs on a device, floating-point ones in ``dtype`` if it is given, as leaves."""

        def placed(tensor: Tensor) -> Tensor:
            kind = dtype if dtype is not None and tensor.is_floating_point() and tensor.ndim else tensor.dtype
            return tensor.detach().to(device=device, dtype=kind).requires_grad_(tensor.requires_grad)

        return {
            name: [placed(part) for part in value] if isinstance(value, list) else placed(value)
            for name, value in self.inputs.items()
        }

    def restore(self, loss: Loss) -> None:
        """Give a loss the state and, where their shapes agree, the parameters that were captured."""
        own = loss.state_dict()
        found = {f"state.{name}": tensor for name, tensor in self.state.items()}
        found |= {name: value for name, value in self.parameters.items() if _fits(own.get(name), value)}
        known = {name: value for name, value in found.items() if name in own or "expert" in name}
        loss.load_state_dict(known, strict=False)


def _fits(own: Tensor | None, value: Tensor) -> bool:
    return own is not None and own.shape == value.shape


def read_capture(path: str | os.PathLike[str]) -> Captured:
    """Return what a file holds that :func:`capture_call` wrote, or any safetensors file with arguments by name.

    Raises:
        MissingDependencyError: safetensors is not installed.
        SourceError: the file cannot be opened.
        CaptureError: it is no safetensors file, or holds something else than arguments of a call.
    """
    _need_safetensors("reading captured tensors")
    from safetensors import SafetensorError, safe_open

    file = Path(path)
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise SourceError(f"{file}: {error.strerror or error}") from None
    try:
        with safe_open(file, framework="pt") as opened:
            metadata: dict[str, str] = dict(opened.metadata() or {})
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (no mapping)
    except SafetensorError as error:
        raise CaptureError(f"{file}: is no safetensors file ({error})") from None
    parameters = {n.removeprefix(_PARAMETERS): t for n, t in tensors.items() if n.startswith(_PARAMETERS)}
    given = {name: tensor for name, tensor in tensors.items() if not name.startswith(_PARAMETERS)}
    wanted = _json(file, metadata, "requires_grad", None)
    for name, tensor in given.items():
        leaf = name in wanted if isinstance(wanted, list) else not name.startswith(("teacher_logits", "num_items"))
        tensor.requires_grad_(leaf and tensor.is_floating_point())
    try:
        state = {
            name: torch.tensor(entry["values"], dtype=getattr(torch, entry["dtype"]))
            for name, entry in _json(file, metadata, "state", {}).items()
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        raise CaptureError(f"{file}: its metadata `state` is not what a capture writes") from None
    config = _json(file, metadata, "config", None)
    return Captured(file, _arguments(file, given), parameters, config, state, _json(file, metadata, "training", True))


def _json(file: Path, metadata: Mapping[str, str], name: str, default: Any) -> Any:
    try:
        return json.loads(metadata[name]) if name in metadata else default
    except ValueError:
        raise CaptureError(f"{file}: its metadata `{name}` is not JSON") from None


def _arguments(file: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return tensors by argument; ``gate_logits.0, gate_logits.1`` become a list."""
    inputs: dict[str, Any] = {}
    parts: dict[str, dict[int, Tensor]] = {}
    for key, tensor in tensors.items():
        name, dot, index = key.partition(".")
        if name not in ARGUMENTS or (dot and (name not in _SEQUENCES or not index.isdecimal())):
            raise CaptureError(
                f"{file}: `{key}` is not an argument of a call{did_you_mean(key, ARGUMENTS)} "
                f"(known: {', '.join(ARGUMENTS)})"
            )
        if dot:
            parts.setdefault(name, {})[int(index)] = tensor
        else:
            inputs[name] = tensor
    for name, sequence in parts.items():
        if name in inputs or sorted(sequence) != list(range(len(sequence))):
            raise CaptureError(f"{file}: `{name}` should be one tensor, or {name}.0, {name}.1, … without a gap")
        inputs[name] = [sequence[index] for index in range(len(sequence))]
    if "targets" not in inputs:
        raise CaptureError(f"{file}: has no `targets`; it holds {', '.join(sorted(tensors)) or 'nothing'}")
    if "logits" not in inputs and not {"hidden_states", "lm_head"} <= set(inputs):
        raise CaptureError(f"{file}: has neither `logits` nor `hidden_states` with `lm_head`")
    return inputs


def _need_safetensors(what: str) -> None:
    from importlib.util import find_spec

    if find_spec("safetensors") is None:
        raise MissingDependencyError(
            f"{what} needs safetensors, which is not installed: pip install 'ava-loss[safetensors]'"
        )
