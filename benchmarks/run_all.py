"""Run every benchmark in turn, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = ("logits.py", "terms.py", "cli.py")


def main() -> int:
    """Return 0 when every script ran."""
    folder = Path(__file__).resolve().parent
    codes = [subprocess.run([sys.executable, str(folder / script)], check=False).returncode for script in SCRIPTS]
    return max(codes)


if __name__ == "__main__":
    raise SystemExit(main())
