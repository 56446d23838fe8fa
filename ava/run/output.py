"""What a detailed call of a loss answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

__all__ = ["LossOutput"]


class LossOutput(Mapping[str, Tensor]):
    """The total, each term weighted (they add up to the total), each raw, and the metrics of the call.

    A read-only mapping from name to 0-d tensor. Only ``total_loss`` is attached to the graph.

    >>> import torch
    >>> out = LossOutput({"total_loss": torch.tensor(2.0), "main_loss": torch.tensor(2.0)})
    >>> out["main_loss"].item(), list(out.log_dict())
    (2.0, ['loss/total', 'loss/main'])
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Tensor:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"LossOutput({', '.join(self._values)})"

    @property
    def total_loss(self) -> Tensor:
        """The total, 0-d, attached to the graph."""
        return self._values["total_loss"]

    def backward(self) -> None:
        """Call ``backward`` on the total."""
        self.total_loss.backward()  # type: ignore[no-untyped-call]

    def log_dict(self, prefix: str = "loss/") -> dict[str, Tensor]:
        """Return detached tensors to log: ``loss/total``, ``loss/main``, ``loss/<term>``, raw and metrics as named.

        Nothing is synchronised with the host until a value is read.
        """
        short = {"total_loss": "total", "main_loss": "main"}
        return {
            (name if "/" in name else prefix + short.get(name, name)): value.detach()
            for name, value in self._values.items()
        }
