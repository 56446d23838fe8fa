"""One pair of processes for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.distributed.ranks import Ranks


@pytest.fixture(scope="session")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    """Two gloo processes."""
    processes = Ranks(tmp_path_factory.mktemp("ranks"))
    yield processes
    processes.stop()
