"""Writing a few columns of each row in place, outside the generated kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from ava.compile.operators import operator

__all__ = ["put_columns"]

_SERIAL = 1 << 15
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _put(rows: Tensor, columns: Tensor, values: Tensor) -> None:
    # torch scatters 16-bit floats by way of a float32 copy of the whole tensor: 2000 times slower than the same bits
    # seen as integers, which is all that an assignment needs.
    bits = _BITS[rows.element_size()]
    target, source = rows.view(bits), values.view(bits)
    # On a CPU in slices below torch's threshold for threads: so little work is done before a second thread is awake.
    step = max(1, _SERIAL // max(1, columns.shape[1])) if rows.is_cpu else max(1, rows.shape[0])
    for start in range(0, rows.shape[0], step):
        part = slice(start, start + step)
        target[part].scatter_(1, columns[part], source[part])


_put_operator = operator("put_columns", lambda rows, columns, values: None, mutates=("rows",))(_put)


def put_columns(rows: Tensor, columns: Tensor, values: Tensor) -> Tensor:
    """Set ``rows[i, columns[i, k]] = values[i, k]`` in place and return ``rows``.

    A column that stands twice in a row must carry the same value twice.

    Args:
        rows: ``[N, V]``, any float dtype.
        columns: ``[N, K]`` int64, each in ``[0, V)``.
        values: ``[N, K]``, the dtype of ``rows``.
    """
    _put_operator(rows, columns, values)
    return rows
