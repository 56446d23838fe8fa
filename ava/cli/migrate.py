"""``ava-loss migrate``: an old file in its present form."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ava.cli.options import Color, ColorOption, QuietOption

if TYPE_CHECKING:
    from ava.losses.migrate import Migrated

__all__ = ["register"]


class Format(StrEnum):
    """How the new file and findings are written."""

    TEXT = "text"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(migrate)


def migrate(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A configuration, or flat keywords of UnifiedLoss, in YAML or JSON; `-` for stdin."
        ),
    ],
    format: Annotated[
        Format, typer.Option("--format", help="YAML with comments, or plain JSON; findings likewise.")
    ] = Format.TEXT,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the new file here; never over another.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Let --output replace a file, the old one included.")] = False,
    quiet: QuietOption = False,
    color: ColorOption = Color.AUTO,
) -> None:
    """Print an old file in its present form, with comments that say what changed.

    Reads older versions of the language, flat keywords of UnifiedLoss, and the `losses:` section of a larger file. A
    file that is of the present version already is printed as it is. Exit code 1 where it has a mistake, such as an
    unknown keyword, 2 where it cannot be read, or FILE of `--output` is there already.
    """
    from ava.cli.output import Output, create_file, say, write_file
    from ava.losses.migrate import migrate as migrated

    data, name = _read(file)
    result = migrated(data, name, folder="" if file == "-" else str(Path(file).parent))
    if result.text is None:
        _tell(result, format, color)
        raise typer.Exit(1)
    text = _json(result.text) if format is Format.JSON else result.text
    if output is None:
        Output().write(text)
    elif force:
        write_file(output, text)
    else:
        create_file(output, text)
    if not quiet:
        for note in result.notes:
            say(f"note: {note}")


def _read(file: str) -> tuple[bytes, str]:
    """Return what ``file`` holds and the name that findings give it."""
    import sys

    from ava.cli.sources import STDIN
    from ava.errors import SourceError
    from ava.load.text import MAX_BYTES

    if file == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1), STDIN
    try:
        with open(file, "rb") as stream:
            return stream.read(MAX_BYTES + 1), file
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SourceError(f"{file}: {reason}") from error


def _tell(result: Migrated, format: Format, color: Color) -> None:
    """Say what is wrong: as JSON on standard output, for people on standard error."""
    import sys

    from ava.cli.formats import FindingsFormat, write_findings
    from ava.cli.output import Output, say, use_color

    if format is Format.JSON:
        Output().write(write_findings(FindingsFormat.JSON, result.findings, texts=result.texts, count=1))
    else:
        colored = use_color(color, sys.stderr)
        text = write_findings(FindingsFormat.TEXT, result.findings, texts=result.texts, count=1, colored=colored)
        say(text.rstrip("\n"))


def _json(text: str) -> str:
    from ava.cli.output import dumps
    from ava.load.read import read_document
    from ava.load.source import plain

    root = read_document(text, "").root
    assert root is not None  # it was validated
    return dumps(plain(root))
