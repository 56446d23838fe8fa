"""Writing columns in place, bit for bit, in every float type."""

from __future__ import annotations

import pytest
import torch

from ava.compile.put import put_columns

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_columns_are_set_and_the_rest_is_left(dtype: torch.dtype) -> None:
    rows = torch.randn(5, 9).to(dtype)
    columns = torch.tensor([[0, 8], [3, 3], [2, 5], [7, 0], [4, 4]])
    values = torch.randn(5, 2).to(dtype)
    values[1, 1], values[4, 1] = values[1, 0], values[4, 0]  # twice in a row: the same value
    expected = rows.clone()
    for i in range(5):
        for k in range(2):
            expected[i, columns[i, k]] = values[i, k]
    answer = put_columns(rows, columns, values)
    assert answer is rows
    assert torch.equal(rows, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_special_values_arrive(dtype: torch.dtype) -> None:
    tiny = torch.finfo(dtype).tiny
    special = torch.tensor([[torch.inf, -torch.inf, torch.nan, -0.0, tiny]], dtype=torch.float64).to(dtype)
    rows = put_columns(torch.ones(1, 6, dtype=dtype), torch.tensor([[5, 0, 1, 2, 3]]), special)
    assert rows[0, 5] == torch.inf
    assert rows[0, 0] == -torch.inf
    assert bool(rows[0, 1].isnan())
    assert bool(rows[0, 2].signbit())
    assert rows[0, 3] == tiny
    assert rows[0, 4] == 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_operator_contract(dtype: torch.dtype) -> None:
    arguments = (torch.zeros(3, 4, dtype=dtype), torch.tensor([[0], [3], [1]]), torch.ones(3, 1, dtype=dtype))
    torch.library.opcheck(torch.ops.ava.put_columns.default, arguments)
