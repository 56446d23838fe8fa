"""Run every benchmark in turn, each in a process of its own, then write the page and its pictures.

    python benchmarks/run_all.py [--quick] [--records FOLDER]

A script that fails does not keep the others from running; the exit code is then 1. With ``--quick``, sizes are small,
the records go to a temporary folder, and the page stays as it is.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SCRIPTS = ("logits.py", "terms.py", "linear.py", "memory.py", "scaling.py", "compile.py", "cli.py", "gpu.py")


def main(arguments: list[str] | None = None) -> int:
    """Return 0 when every script ran."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--quick", action="store_true", help="small sizes: shows that it runs, and nothing else")
    made.add_argument("--records", type=Path, help="folder of the JSON records")
    options = made.parse_args(arguments)
    if options.quick and options.records is None:
        with tempfile.TemporaryDirectory() as folder:
            return run(["--quick", "--records", folder], write_page=False)
    more = [*(["--quick"] if options.quick else []), *(["--records", str(options.records)] if options.records else [])]
    return run(more, write_page=not more)


def run(more: list[str], write_page: bool) -> int:
    """Run the scripts with ``more`` arguments, say which failed, and return the exit code."""
    commands = [[script, *more] for script in SCRIPTS] + ([["page.py"]] if write_page else [])
    failed = []
    for script, *rest in commands:
        print(f"— {script}", flush=True)
        if subprocess.run([sys.executable, str(FOLDER / script), *rest], check=False).returncode:
            failed.append(script)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
