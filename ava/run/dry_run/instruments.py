"""Clocks, the allocator's record, and the compiler's counts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch

__all__ = ["Counters", "clock", "peak_bytes"]


def clock(device: torch.device) -> float:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Return the most bytes that ``work`` held at once, above what was there before.

    On a CPU from the allocator's events, which generated kernels cause too.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return int(torch.cuda.max_memory_allocated(device) - before)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it reports its own start on standard error
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return int(peak)


class Counters:
    """The compiler's own counts, from the moment this is made."""

    def __init__(self) -> None:
        self._graphs, self._breaks = self._read()

    @staticmethod
    def _read() -> tuple[int, int]:
        from torch._dynamo.utils import counters

        return int(counters["stats"]["unique_graphs"]), sum(counters["graph_break"].values())

    def graphs(self) -> int:
        return self._read()[0] - self._graphs

    def breaks(self) -> int:
        return self._read()[1] - self._breaks
