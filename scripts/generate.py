"""Regenerate the files that come from the source: the JSON Schema. With ``--check``, only say what is out of date."""

from __future__ import annotations

import sys
from pathlib import Path

from ava.config.schema import schema_text

ROOT = Path(__file__).resolve().parent.parent


def generated() -> dict[Path, str]:
    """Return every generated file with the text that it should hold."""
    return {ROOT / "schemas" / "ava-loss.schema.json": schema_text()}


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` report those that differ; return the exit code."""
    stale = {
        path: text
        for path, text in generated().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    for path, text in stale.items():
        shown = path.relative_to(ROOT)
        if "--check" in arguments:
            print(f"{shown} is out of date: run `make schema`")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {shown}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
