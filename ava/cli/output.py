"""Where results go: standard output or a file, in colour or not; and how a failure is said."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ava.cli.options import Color
from ava.errors import AvaError, SourceError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["Output", "create_file", "dumps", "fail", "say", "use_color", "write_file"]


@dataclass(frozen=True)
class Output:
    """The destination of a command's result."""

    file: Path | None = None
    color: Color = Color.AUTO

    @property
    def colored(self) -> bool:
        """Whether the result is coloured."""
        return use_color(self.color, None if self.file else sys.stdout)

    def write(self, text: str) -> None:
        """Write the whole result; it gets a line break at its end."""
        text = text if text.endswith("\n") or not text else text + "\n"
        if self.file is None:
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            write_file(self.file, text)

    def draw(self, *items: RenderableType) -> None:
        """Write what rich draws, one item after the other."""
        self.write(self.drawn(*items))

    def drawn(self, *items: RenderableType) -> str:
        """Return the text of what rich draws, as wide as the terminal, without trailing spaces."""
        from io import StringIO

        console = _console(StringIO(), self.colored)
        for item in items:
            console.print(item)
        text: str = console.file.getvalue()  # type: ignore[attr-defined]
        return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _console(file: Any, colored: bool) -> Console:
    from rich.console import Console

    return Console(
        file=file,
        width=_width(),
        color_system="standard" if colored else None,
        force_terminal=colored,
        no_color=not colored,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
    )


def _width() -> int:
    """Return the columns to fill: COLUMNS, else the terminal's, else 100; between 40 and 200."""
    import shutil

    return min(max(shutil.get_terminal_size((100, 24)).columns, 40), 200)


def use_color(color: Color, stream: Any) -> bool:
    """Return whether to write colour to ``stream`` (None for a file)."""
    if color is not Color.AUTO:
        return color is Color.ALWAYS
    if os.environ.get("NO_COLOR") or stream is None:
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and bool(stream.isatty())


def dumps(value: Any) -> str:
    """Return ``value`` as JSON for people and programs: indented, one final line break, never NaN."""
    import json

    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_file(path: Path, text: str) -> None:
    """Write a file whole or not at all; links are followed, and what is no regular file is written to directly.

    Raises :class:`~ava.errors.SourceError` where that cannot be done.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            target.write_text(text, encoding="utf-8")
            return
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with part.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
            if target.exists():
                part.chmod(target.stat().st_mode & 0o7777)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SourceError(f"{path}: cannot write: {reason}") from error


def create_file(path: Path, text: str) -> None:
    """Write a new file. Raises :class:`~ava.errors.SourceError` where there is one already, or it cannot be done."""
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise SourceError(f"{path}: there is a file of that name already; it was left as it is") from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SourceError(f"{path}: cannot write: {reason}") from error


def say(message: str) -> None:
    """Write a message for people, to standard error."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


def fail(error: AvaError) -> int:
    """Say what went wrong and return the exit code: 1 for a configuration with mistakes, else 2."""
    from ava.cli.sources import InvalidError
    from ava.errors import ConfigError

    if isinstance(error, InvalidError):
        from ava.cli.render.findings import findings_text

        color = use_color(Color.AUTO, sys.stderr)
        say(findings_text(error.findings, error.source.texts, 1, colored=color).rstrip("\n"))
        return 1
    if isinstance(error, ConfigError):
        say(str(error))
        return 1
    say(f"error: {error}")
    return 2
