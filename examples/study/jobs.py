"""A job is a process that writes one JSON file; the board shows those that are running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@dataclass(frozen=True)
class Job:
    name: str
    command: list[str]
    into: Path
    identity: dict[str, Any]  # what the file has to say of itself to count

    @property
    def log(self) -> Path:
        return self.into.with_suffix(".log")

    def answer(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.into.read_text(encoding="utf-8"))
        return found

    def done(self) -> bool:
        return self.into.is_file() and self.answer().get("identity") == self.identity


class Board:
    """A bar for every running job and one for all; plain lines where there is no terminal. Knows how to stop all."""

    def __init__(self, console: Console, jobs: int) -> None:
        self.live = console.is_terminal and not console.is_dumb_terminal
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self.progress = Progress(TextColumn("{task.description:<32}"), *columns, console=console, disable=not self.live)
        self.console, self.jobs, self.finished, self.stopped = console, jobs, 0, False
        self.all = self.progress.add_task("all jobs", total=jobs)
        self.lock, self.running = threading.Lock(), set[subprocess.Popen[str]]()

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.progress.stop()

    def start(self, command: list[str], log: Any) -> subprocess.Popen[str] | None:
        with self.lock:
            if self.stopped:
                return None
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
            self.running.add(process)
            return process

    def stop(self) -> None:
        """End what still runs. Finished jobs have their files."""
        with self.lock:
            self.stopped = True
            for process in self.running:
                process.terminate()

    def finish(self, job: Job, note: str) -> None:
        with self.lock:
            self.finished += 1
        self.progress.advance(self.all)
        if not self.live:
            self.console.print(f"{self.finished}/{self.jobs} {job.name}: {note}", highlight=False, soft_wrap=True)


def run(job: Job, board: Board) -> bool:
    """Whether it succeeded. What it prints is how far it is; its errors go to the log."""
    job.into.parent.mkdir(parents=True, exist_ok=True)
    job.into.unlink(missing_ok=True)
    begun = time.perf_counter()
    task = board.progress.add_task(job.name, total=None)
    with job.log.open("w", encoding="utf-8") as log:
        process = board.start([sys.executable, *job.command, "--into", str(job.into)], log)
        if process is None:
            return False
        assert process.stdout is not None
        for line in process.stdout:
            done, total = line.split()
            board.progress.update(task, completed=int(done), total=int(total))
        code = process.wait()
    with board.lock:
        board.running.discard(process)
    board.progress.remove_task(task)
    if code == 0:
        job.log.unlink()
    board.finish(job, f"{time.perf_counter() - begun:.0f} s" if code == 0 else f"failed with {code}")
    return code == 0
