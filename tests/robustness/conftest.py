"""What the tests of robustness share."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _without_others_garbage() -> Iterator[None]:
    """Keep the collector away from what earlier tests left, such as torch: these tests limit processor time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
