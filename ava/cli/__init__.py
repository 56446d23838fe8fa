"""The command line, ``ava-loss``: one file per command, which reads arguments and writes results.

``quick`` answers the commonest question by itself · ``app`` puts the commands together · ``options`` are those that
several share · ``sources`` finds and reads the configurations · ``output`` is where results go · ``render`` draws them.

Exit codes: 0 clean, 1 findings, 2 could not do it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

__all__ = ["main"]

# Pydantic looks for plugins in every installed distribution, which costs a sixth of a command's time.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, by default that of the process, and return its exit code."""
    from ava.cli.quick import validate_quickly

    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # not a text file, as under a test; or one already read
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    code = validate_quickly(arguments)
    return _run(arguments) if code is None else code


def _run(arguments: Sequence[str]) -> int:
    from ava.cli.app import build_app
    from ava.errors import AvaError

    try:
        build_app(arguments)(args=arguments, prog_name="ava-loss")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except AvaError as error:
        from ava.cli.output import fail

        return fail(error)
    return 0
