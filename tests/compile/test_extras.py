"""Future targets, sampled positions and expert counts, worked out by hand."""

from __future__ import annotations

import pytest
import torch

from ava.compile.extras import expert_counts, future_targets, sample_positions


def test_future_targets() -> None:
    target = torch.tensor([[4, 5, -1, 7], [1, 2, 3, 9]])
    valid = torch.tensor([[True, True, False, True], [True, True, True, True]])
    segment = torch.tensor([[1, 1, 1, 1], [1, 1, 2, 2]])
    targets, counts = future_targets(target, valid, segment, 3)
    assert (targets.dtype, counts.dtype) == (torch.int64, torch.bool)
    assert targets.view(3, 2, 4).tolist() == [
        [[5, -1, 7, -1], [2, -1, 9, -1]],
        [[-1, 7, -1, -1], [-1, -1, -1, -1]],
        [[7, -1, -1, -1], [-1, -1, -1, -1]],
    ]
    assert counts.view(3, 2, 4).tolist() == [
        [[True, False, True, False], [True, False, True, False]],
        [[False, True, False, False], [False, False, False, False]],
        [[True, False, False, False], [False, False, False, False]],
    ]


@pytest.mark.parametrize("length", [1, 2])
def test_future_targets_beyond_the_row(length: int) -> None:
    tokens = torch.full((1, length), 3)
    targets, counts = future_targets(tokens, tokens > 0, torch.ones_like(tokens), 4)
    assert targets.tolist() == [3 if i == 0 and length == 2 else -1 for i in range(4 * length)]
    assert int(counts.sum()) == length - 1


@pytest.mark.parametrize(
    ("batch", "length", "shift", "limit", "expected"),
    [
        (2, 4, False, 256, [0, 1, 2, 3, 4, 5, 6, 7]),
        (2, 4, False, 8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (2, 4, False, 7, [0, 2, 4, 6]),
        (2, 5, False, 3, [0, 4, 8]),
        (2, 4, True, 256, [0, 1, 2, 4, 5, 6]),
        (2, 4, True, 5, [0, 2, 5]),
        (3, 1, True, 4, []),
        (1, 3, False, 1, [0]),
    ],
)
def test_sample_positions(batch: int, length: int, shift: bool, limit: int, expected: list[int]) -> None:
    assert sample_positions(batch, length, shift, limit, torch.device("cpu")).tolist() == expected


def test_expert_counts() -> None:
    indices = torch.tensor([[[0, 1], [0, 2], [3, 1]], [[2, 2], [0, 1], [2, 3]]])
    counts = expert_counts(indices, 5, torch.tensor([True, False, True]))
    assert counts.dtype == torch.float64
    assert counts.tolist() == [[1, 2, 0, 1, 0], [0, 0, 3, 1, 0]]
    assert not bool(expert_counts(indices, 5, torch.zeros(3, dtype=torch.bool)).any())
