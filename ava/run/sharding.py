"""Tensors that are spread over ranks: which of them a loss takes, and this rank's part of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ava.compile.shard import Shard, shard_of
from ava.config.model import Model
from ava.errors import ArgumentTypeError, ArgumentValueError
from ava.run.inputs import describe

__all__ = ["Spread", "gather_parts"]

_VOCABULARY = {"logits": -1, "lm_head": 0, "lm_head_bias": 0, "mtp_logits": -1, "teacher_logits": -1}
"""Arguments with a dimension as long as the vocabulary, and which that is."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The arguments of a call as plain tensors of this rank.

    Attributes:
        given: by name.
        shard: the columns of the vocabulary that this rank holds; None where it holds all of them.
        columns: columns over all ranks, padding included; None where there is no shard.
    """

    given: dict[str, Any]
    shard: Shard | None = None
    columns: int | None = None


@dataclass(frozen=True, slots=True)
class _Part:
    """A tensor of which this rank holds a run of the vocabulary, ``columns`` long over all ranks."""

    local: Tensor
    columns: int | None
    group: Any
    rank: int
    ranks: int


def gather_parts(model: Model, given: Mapping[str, Any], process_group: Any) -> Spread:
    """Return the arguments of a call with every ``DTensor`` as this rank's part of it.

    The vocabulary is split where ``logits``, or ``lm_head`` where there are none, is a ``DTensor`` sharded on it, or a
    plain local shard beside ``process_group``. Then the other tensors over the vocabulary are shards of the same
    ranks; a teacher's logits may be whole.

    Raises:
        ArgumentValueError: a tensor is spread otherwise, or not as ``torch.chunk`` would split it.
        ArgumentTypeError: ``process_group`` is none.
    """
    if process_group is None and not any(_is_dtensor(value) for value in given.values()):
        return Spread(dict(given))
    if process_group is not None and not isinstance(process_group, torch.distributed.ProcessGroup):
        raise ArgumentTypeError(
            f"`process_group` should be a `torch.distributed.ProcessGroup`, but is {type(process_group).__name__}."
        )
    main = "logits" if given.get("logits") is not None else "lm_head"
    if main == "lm_head":
        _refuse_parameter_shards(given, process_group)
    parts = {name: _part(name, given.get(name), process_group) for name in _VOCABULARY}
    answer = {name: parts[name] if name in _VOCABULARY else _whole(name, value) for name, value in given.items()}
    joint = parts[main]
    if not isinstance(joint, _Part):
        for name, part in parts.items():
            if isinstance(part, _Part):
                raise ArgumentValueError(f"`{name}` is sharded on the vocabulary, but `{main}` is whole: shard both.")
        return Spread(answer)
    columns = joint.columns or model.padded_vocab_size or model.vocab_size
    if columns is None:
        raise ArgumentValueError(
            f"`{main}` is this rank's shard of the vocabulary, whose size it does not tell: set `model.vocab_size` "
            "(and `model.padded_vocab_size` where the vocabulary is padded)."
        )
    wide = model.padded_vocab_size or model.vocab_size
    if wide is not None and columns != wide:
        field = "model.padded_vocab_size" if model.padded_vocab_size else "model.vocab_size"
        raise ArgumentValueError(f"`{main}` should have {wide} columns (`{field}`) over all ranks, but has {columns}.")
    shard = shard_of(joint.group.group_name, joint.rank, joint.ranks, columns, model.vocab_size or columns)
    width = max(0, min(-(-columns // joint.ranks), columns - shard.start))
    for name, part in parts.items():
        answer[name] = _local(name, part, joint, shard, width, model.vocab_size or columns)
    if shard.width == 0:
        raise ArgumentValueError(
            f"`{main}` holds no column of the vocabulary on rank {shard.rank} of {shard.ranks}: every rank should hold "
            "one at the least."
        )
    return Spread(answer, shard, columns)


def _part(name: str, value: Any, process_group: Any) -> Any:
    """Return a :class:`_Part` where the vocabulary is spread over ranks, else what is whole here."""
    if isinstance(value, (list, tuple)) and any(_is_dtensor(item) for item in value):
        value = torch.stack(list(value))
    if not isinstance(value, Tensor):
        return value
    if not _is_dtensor(value):
        if process_group is None:
            return value
        rank = torch.distributed.get_rank(process_group)
        return _Part(value, None, process_group, rank, process_group.size())
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor.placement_types import Shard as Sharded

    assert isinstance(value, DTensor)
    vocabulary = _VOCABULARY[name] % value.ndim
    spread = [(number, kind) for number, kind in enumerate(value.placements) if not kind.is_replicate()]
    if not spread:
        return value.to_local()
    number, kind = spread[0]
    if len(spread) > 1 or not isinstance(kind, Sharded) or kind.dim != vocabulary:
        raise ArgumentValueError(
            f"`{name}` should be replicated, or sharded on the vocabulary (dimension {vocabulary}) over one dimension "
            f"of its mesh, but its placements are {tuple(value.placements)}. Redistribute it; where positions are "
            "spread over ranks, pass each rank's own as a plain tensor."
        )
    mesh = value.device_mesh
    return _Part(
        value.to_local(),
        value.shape[vocabulary],
        mesh.get_group(number),
        mesh.get_local_rank(number),
        mesh.size(number),
    )


def _local(name: str, part: Any, joint: _Part, shard: Shard, width: int, vocab_size: int) -> Any:
    """Return this rank's part of a tensor over the vocabulary, after checking that it is the right one."""
    if part is None:
        return None
    if not isinstance(part, _Part):
        if name == "teacher_logits" and isinstance(part, Tensor) and part.shape[-1] >= vocab_size:
            return part[..., shard.start : shard.start + width]
        raise ArgumentValueError(f"`{name}` should be sharded on the vocabulary over the same ranks as the logits.")
    if part.group.group_name != joint.group.group_name:
        raise ArgumentValueError(f"`{name}` should be sharded over the same ranks as the logits, but is over others.")
    local = part.local
    if name == "teacher_logits" and local.shape[-1] != width and local.shape[-1] >= vocab_size:  # whole on every rank
        return local[..., shard.start : shard.start + width]
    held = local.shape[_VOCABULARY[name]]
    if held != width:
        raise ArgumentValueError(
            f"`{name}` should hold {width} of the {joint.columns or 'vocabulary'} columns on rank {shard.rank} of "
            f"{shard.ranks}, as `torch.chunk` splits them, but is {describe(local)}."
        )
    return local


def _refuse_parameter_shards(given: Mapping[str, Any], process_group: Any) -> None:
    """Raise for a head that is sharded to save memory, as FSDP does: its ranks hold different hidden states."""
    weight, hidden = given.get("lm_head"), given.get("hidden_states")
    if process_group is not None or not _is_dtensor(weight) or _is_dtensor(hidden):
        return
    assert weight is not None
    if any(not kind.is_replicate() for kind in weight.placements):
        raise ArgumentValueError(
            "`lm_head` is sharded over ranks. If that is FSDP's doing, gather it first (call the loss inside the "
            "wrapped module's forward, or `module.unshard()`); for vocabulary parallelism, pass `hidden_states` as a "
            "replicated `DTensor`, or `process_group`."
        )


def _whole(name: str, value: Any) -> Any:
    """Return a tensor that every rank holds whole as a plain one; sequences item by item."""
    if isinstance(value, (list, tuple)):
        return [_whole(f"{name}[{number}]", item) for number, item in enumerate(value)]
    if not _is_dtensor(value):
        return value
    if any(not kind.is_replicate() for kind in value.placements):
        raise ArgumentValueError(
            f"`{name}` should be whole on every rank, but its placements are {tuple(value.placements)}: redistribute "
            "it to `Replicate()`."
        )
    return value.to_local()


def _is_dtensor(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_is_dtensor(item) for item in value)
    if type(value) is Tensor or not isinstance(value, Tensor) or not torch.distributed.is_available():
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(value, DTensor)
