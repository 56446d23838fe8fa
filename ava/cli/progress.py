"""What a long command shows while it runs, and what it says where torch is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ava.cli.options import Color

__all__ = ["need_torch", "stages"]


def need_torch(command: str) -> None:
    """Check that torch is installed, without importing it.

    Raises:
        MissingDependencyError: it is not.
    """
    from importlib.util import find_spec

    from ava.errors import MissingDependencyError

    if find_spec("torch") is None:
        raise MissingDependencyError(f"{command} needs torch, which is not installed: pip install 'ava-loss[torch]'")


@contextmanager
def stages(quiet: bool, color: Color) -> Iterator[Callable[[str], None]]:
    """Yield what shows a stage on standard error while it runs, where that is a terminal."""
    import sys

    from ava.cli.output import use_color

    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, no_color=not use_color(color, sys.stderr), highlight=False)
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=20),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("importing torch", total=None)
        yield lambda stage: progress.update(task, description=stage)
