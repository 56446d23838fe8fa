"""Two processes that stay, joined by gloo on the CPU, and run what a test asks of them."""

from __future__ import annotations

import io
import multiprocessing
import os
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

WORLD = 2
PATIENCE = 240
"""Seconds until a job that hangs is given up."""


class Ranks:
    """Processes ``0 … world - 1``; :meth:`run` calls a function of an importable module in each of them."""

    def __init__(self, folder: Path, world: int = WORLD) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipes: list[Connection] = []
        self.processes = []
        for rank in range(world):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(rank, world, folder / "store", there), daemon=True)
            process.start()
            self.pipes.append(here)
            self.processes.append(process)

    def run(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Return what ``function(*arguments)`` gives on each rank; raise what one of them raised."""
        sent = _packed((function, arguments))
        for pipe in self.pipes:
            pipe.send_bytes(sent)
        answers = []
        for rank, pipe in enumerate(self.pipes):
            if not pipe.poll(PATIENCE):
                self.stop()
                raise TimeoutError(f"rank {rank} hangs in {function.__name__}")
            answers.append(_unpacked(pipe.recv_bytes()))
        wrong = [f"rank {rank}:\n{answer}" for rank, (fine, answer) in enumerate(answers) if not fine]
        if wrong:
            raise AssertionError("\n".join(wrong))
        return [answer for _, answer in answers]

    def stop(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join()


def _serve(rank: int, world: int, store: Path, pipe: Connection) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    while True:
        try:
            function, arguments = _unpacked(pipe.recv_bytes())
        except EOFError:
            return
        try:
            pipe.send_bytes(_packed((True, function(*arguments))))
        except Exception:  # noqa: BLE001 - shown by the test
            pipe.send_bytes(_packed((False, traceback.format_exc())))


def _packed(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _unpacked(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), weights_only=False)
