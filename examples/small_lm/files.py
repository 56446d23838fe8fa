"""What a run leaves on disk: a checkpoint that is never half-written, and a log with one JSON object a step."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Record = dict[str, float | int | None]


def save(state: Mapping[str, Any], path: Path) -> None:
    """All or nothing: a crash while writing leaves the previous checkpoint as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


class RunLog:
    """Keeps each step's values on the device, and fetches those of many steps in one copy.

    A run that is resumed after step `resumed_at` is about to write again what came later, so those lines go.
    """

    def __init__(self, path: Path | None, resumed_at: int = 0) -> None:
        self.path = path
        self._waiting: list[tuple[Record, list[str], Tensor]] = []
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_text().splitlines(keepends=True) if resumed_at and path.exists() else []
            path.write_text(
                "".join(line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= resumed_at)
            )

    def add(self, known: Record, on_device: Mapping[str, Tensor]) -> None:
        """A step's numbers: those that the host knows, and 0-d tensors that it does not wait for."""
        values = torch.stack([value.detach().float() for value in on_device.values()])
        self._waiting.append((known, list(on_device), values))

    def note(self, values: Mapping[str, float]) -> None:
        """Adds to the latest step, which has not been fetched yet."""
        self._waiting[-1][0].update(values)

    def fetch(self) -> list[Record]:
        """The steps since the last fetch, as numbers, and into the file."""
        if not self._waiting:
            return []
        numbers = iter(torch.cat([values for _, _, values in self._waiting]).tolist())
        records = [known | {name: rounded(next(numbers)) for name in names} for known, names, _ in self._waiting]
        self._waiting.clear()
        if self.path is not None:
            with self.path.open("a") as file:
                file.writelines(json.dumps(record, allow_nan=False) + "\n" for record in records)
        return records


def rounded(value: float) -> float | None:
    """Eight digits hold a float32; JSON has no word for what is not finite."""
    return float(f"{value:.8g}") if math.isfinite(value) else None


def combined(details: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """A step's values from those of its micro-batches, which are of equal size.

    Terms share the step's divisor, so they add up, and so do tokens. Metrics are means, perplexity the geometric one.
    """
    values = {}
    for name in details[0]:
        parts = torch.stack([detail[name].float() for detail in details])
        if name == "metrics/perplexity":
            values[name] = parts.log().mean().exp()
        elif name.startswith("metrics/") and name != "metrics/tokens":
            values[name] = parts.mean()
        else:
            values[name] = parts.sum()
    return values
