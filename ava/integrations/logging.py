"""Logging without waiting for the device: values are kept as tensors, and read many steps at a time.

Every logger takes what ``loss(…, return_detailed=True)`` answers, or any mapping of names to numbers and 0-d tensors.
Names are those of :meth:`~ava.run.output.LossOutput.log_dict`: ``loss/total``, ``loss/main``, ``loss/<term>``,
``raw/<term>``, ``metrics/<name>``. TensorBoard and Weights & Biases group charts by what stands before the slash.
"""

from __future__ import annotations

import json
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from ava.errors import ArgumentTypeError, ArgumentValueError, SourceError
from ava.run.output import LossOutput

__all__ = ["BatchedLogger", "JsonlLogger", "TensorBoardLogger", "WandbLogger"]

Record = dict[str, float]
_TAIL = 1 << 16


@dataclass(frozen=True, slots=True)
class _Step:
    """The values of one step: Python numbers by name, and for each device and dtype one tensor ``[n]`` with n names."""

    step: int
    names: tuple[str, ...]
    numbers: Record
    groups: dict[tuple[torch.device, torch.dtype], tuple[list[str], Tensor]]


class BatchedLogger(ABC):
    """Keeps the values of ``every`` steps on their device, then reads them in one transfer and writes them.

    A context manager: leaving it writes what is left. In a run of several processes only the first one writes.

    Args:
        every: steps between two reads.

    Raises:
        ArgumentValueError: ``every`` is not a positive integer.
    """

    def __init__(self, every: int = 50) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ArgumentValueError(f"`every` should be an integer of at least 1, but is {every!r}.")
        self.every = every
        self._kept: list[_Step] = []
        self._closed = False

    def log(self, step: int, values: Mapping[str, Tensor | float], **more: Tensor | float) -> None:
        """Keep the values of a step; every so many steps, read and write them.

        Args:
            step: number of the optimizer step.
            values: a detailed answer of a loss, or names with numbers or 0-d tensors.
            more: further values, such as ``lr=1e-3``.

        Raises:
            ArgumentValueError: a tensor with more than one element, or a logger that is closed.
            ArgumentTypeError: a value that is no number.
        """
        if self._closed:
            raise ArgumentValueError("this logger is closed; make a new one, which appends to the same file.")
        named = values.log_dict() if isinstance(values, LossOutput) else values
        kept = _keep(step, {**named, **more})
        if _writes():
            self._kept.append(kept)
        if len(self._kept) >= self.every:
            self.flush()

    def flush(self) -> None:
        """Read what is kept, in one transfer for each device, and write it."""
        kept, self._kept = self._kept, []
        if kept:
            self.write(_read(kept))

    def close(self) -> None:
        """Write what is left. A closed logger takes no more values."""
        if not self._closed:
            self.flush()
            self._closed = True

    @abstractmethod
    def write(self, records: list[tuple[int, Record]]) -> None:
        """Write the values of some steps, which are Python numbers by now."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class JsonlLogger(BatchedLogger):
    """Appends one JSON object a step to a file, which ``ava-loss report`` reads.

    Each line holds ``step``, ``time`` (seconds since 1970) and the values. JSON has no NaN and no infinity: such a
    value is written as ``null``, and its name stands in the line's ``nonfinite`` list.

    A file that is there is appended to, never replaced; a last line that a crash cut short is left as it is, and the
    next one begins below it.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "run.jsonl"
    >>> with JsonlLogger(path) as logger:
    ...     logger.log(1, {"loss/total": 2.5, "loss/main": float("nan")})
    >>> line = json.loads(path.read_text())
    >>> line["loss/total"], line["loss/main"], line["nonfinite"]
    (2.5, None, ['loss/main'])

    Args:
        path: the file; its folders are made.
        every: steps between two writes.

    Raises:
        ArgumentValueError: the file holds something other than JSON lines.
        SourceError: the file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 50) -> None:
        super().__init__(every)
        self.path = Path(path)
        if _writes():
            self._open()

    def log(self, step: int, values: Mapping[str, Tensor | float], **more: Tensor | float) -> None:
        """Keep the values of a step and the time; see :meth:`BatchedLogger.log`."""
        super().log(step, values, **{"time": time.time(), **more})

    def write(self, records: list[tuple[int, Record]]) -> None:
        """Append one line a step."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        broken = _ends_inside_a_line(self.path)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" * broken + "".join(_line(step, record) for step, record in records))

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+", encoding="utf-8", errors="replace") as file:
                file.seek(0)
                first = file.readline(_TAIL)
        except OSError as error:
            raise SourceError(f"`{self.path}` cannot be written: {error.strerror or error}.") from error
        if first.strip() and not first.lstrip().startswith("{"):
            raise ArgumentValueError(
                f"`{self.path}` is there already and holds no JSON lines; nothing was written. Name another file."
            )


class TensorBoardLogger(BatchedLogger):
    """Writes every value as a scalar of a TensorBoard writer, which stays the caller's to close.

    Args:
        writer: a ``torch.utils.tensorboard.SummaryWriter``.
        every: steps between two reads.
    """

    def __init__(self, writer: Any, every: int = 50) -> None:
        super().__init__(every)
        self.writer = writer

    def write(self, records: list[tuple[int, Record]]) -> None:
        """Add the scalars of some steps."""
        for step, record in records:
            for name, value in record.items():
                self.writer.add_scalar(name, value, step)


class WandbLogger(BatchedLogger):
    """Logs every step to a run of Weights & Biases, which stays the caller's to finish.

    Values reach the run some steps late, and its steps only ever rise: leave ``step`` out of other calls of
    ``run.log``.

    Args:
        run: what ``wandb.init`` returned.
        every: steps between two reads.
    """

    def __init__(self, run: Any, every: int = 50) -> None:
        super().__init__(every)
        self.run = run

    def write(self, records: list[tuple[int, Record]]) -> None:
        """Log some steps."""
        for step, record in records:
            self.run.log(record, step=step)


def _keep(step: int, values: Mapping[str, Tensor | float]) -> _Step:
    numbers: Record = {}
    tensors: dict[tuple[torch.device, torch.dtype], dict[str, Tensor]] = {}
    for name, value in values.items():
        if isinstance(value, Tensor):
            if value.numel() != 1 or value.is_complex():
                raise ArgumentValueError(
                    f"`{name}` should be a number or a 0-d tensor, but is of shape {list(value.shape)}."
                )
            tensors.setdefault((value.device, value.dtype), {})[name] = value.detach().reshape(())
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ArgumentTypeError(f"`{name}` should be a number or a 0-d tensor, but is {type(value).__name__}.")
        else:
            numbers[name] = value
    # copies, because a buffer, or the output of a CUDA graph, changes in place: one for each dtype, not one a value
    groups = {kind: (list(found), torch.stack(list(found.values()))) for kind, found in tensors.items()}
    return _Step(step, tuple(values), numbers, groups)


def _read(kept: list[_Step]) -> list[tuple[int, Record]]:
    """Return the steps with Python numbers, by one transfer for each device and dtype."""
    records = [dict(step.numbers) for step in kept]
    for kind in {kind: None for step in kept for kind in step.groups}:
        found = [
            (record, *step.groups[kind]) for record, step in zip(records, kept, strict=True) if kind in step.groups
        ]
        numbers = iter(torch.cat([tensor for _, _, tensor in found]).tolist())
        for record, names, _ in found:
            record.update((name, next(numbers)) for name in names)
    return [
        (step.step, {name: record[name] for name in step.names}) for step, record in zip(kept, records, strict=True)
    ]


def _line(step: int, record: Record) -> str:
    wrong = [name for name, value in record.items() if not math.isfinite(value)]
    line: dict[str, Any] = {"step": step, **{name: None if name in wrong else value for name, value in record.items()}}
    if wrong:
        line["nonfinite"] = wrong
    return json.dumps(line, allow_nan=False) + "\n"


def _ends_inside_a_line(path: Path) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _writes() -> bool:
    distributed = torch.distributed
    return not (distributed.is_available() and distributed.is_initialized() and distributed.get_rank() > 0)
