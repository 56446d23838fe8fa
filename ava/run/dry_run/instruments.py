"""Clocks, the allocator's record, and the compiler's counts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import torch

__all__ = ["Counters", "break_reason", "clock", "peak_bytes"]


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
    def _read() -> tuple[int, dict[str, int]]:
        from torch._dynamo.utils import counters

        return int(counters["stats"]["unique_graphs"]), dict(counters["graph_break"])

    def graphs(self) -> int:
        """Return how many graphs were compiled."""
        return self._read()[0] - self._graphs

    def breaks(self) -> int:
        """Return how many graphs broke off and went on with another."""
        return sum(self._read()[1].values()) - sum(self._breaks.values())

    def reasons(self) -> list[str]:
        """Return why, a sentence each."""
        now = self._read()[1]
        return [_first_line(text) for text, count in now.items() if count > self._breaks.get(text, 0)]


def break_reason(error: torch._dynamo.exc.Unsupported) -> str:
    """Return why a loss does not compile into one graph, with the line of code that it stops at."""
    stack = list(getattr(error, "real_stack", None) or ())
    place = f" ({Path(stack[-1].filename).name}:{stack[-1].lineno}, in {stack[-1].name})" if stack else ""
    return _first_line(str(error)) + place


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
