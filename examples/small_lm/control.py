"""The clock of a run, and stopping it between two steps."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter


@dataclass
class Clock:
    """Seconds spent inside `with clock:`. `counted` leaves out this process's first stretch: it compiles there."""

    seconds: float = 0.0
    counted: float = 0.0
    _started: float = field(default=0.0, repr=False)
    _compiled: bool = field(default=False, repr=False)

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(self, *_: object) -> None:
        passed = perf_counter() - self._started
        self.seconds += passed
        self.counted += passed if self._compiled else 0.0
        self._compiled = True


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """A list that Ctrl-C, or a polite kill, fills, so that a step can be finished. A second Ctrl-C stops at once."""
    received: list[int] = []

    def receive(number: int, _: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    handlers = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
