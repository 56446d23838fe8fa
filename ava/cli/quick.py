"""``ava-loss validate PATH…`` where nothing is wrong: the answer without typer and pydantic, most of the time.

Whatever is not as plain as that is left to the command itself, which then starts anew.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["validate_quickly"]


def validate_quickly(arguments: Sequence[str]) -> int | None:
    """Run a command line and return its exit code, or None, with nothing written, where the command has to look."""
    command, *paths = arguments or ("",)
    if command != "validate" or not paths or any(path.startswith("-") for path in paths):
        return None
    if "GITHUB_ACTIONS" in os.environ:
        return None
    from ava.cli.render.findings import findings_text
    from ava.cli.sources import expand, open_source, preset_folders
    from ava.config.quick import is_surely_valid
    from ava.errors import AvaError

    failures: list[str] = []
    count = 0
    try:
        for reference in expand(paths, preset_folders(None), failures):
            if failures or not is_surely_valid(open_source(reference, None, None)):
                return None
            count += 1
        if failures:
            return None
        sys.stdout.write(findings_text((), {}, count))
        sys.stdout.flush()
    except (AvaError, OSError):  # the command says what it is
        return None
    except KeyboardInterrupt:
        return 130
    return 0
