"""Writes the tables and pictures of `docs/study.md` from `docs/study/results.json`, so that the page cannot drift.

    python examples/study/page.py [--results runs/study/results.json] [--check]

A table stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; the text around it is written by hand. Needs no
torch.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from study.pictures import pictures
from study.tables import TABLES

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)
PAGE, RESULTS, PICTURES = "study.md", "study/results.json", "study"


def pages(page: str, results: str) -> dict[str, str]:
    """The page, its pictures and the results, by their path under `docs/`, from the texts of page and results."""
    found = json.loads(results)

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}\n{TABLES[match[2]](found)}\n{match[3]}"

    drawn = {f"{PICTURES}/{name}.svg": text for name, text in pictures(found).items()}
    return {PAGE: BLOCK.sub(block, page), RESULTS: results} | drawn


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or hold it against the results."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--check", action="store_true", help="write nothing; exit 1 if something differs")
    made.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the page (docs)")
    made.add_argument("--results", type=Path, help="results to put on the page (those of docs/study/)")
    given = made.parse_args(arguments)
    results = given.results or given.docs / RESULTS
    if not results.is_file():
        print(f"{results}: there are no results; run examples/study/run.py, then name its results with --results")
        return 1
    written = pages((given.docs / PAGE).read_text(encoding="utf-8"), results.read_text(encoding="utf-8"))
    differs = [name for name, text in written.items() if not _is(given.docs / name, text)]
    for name in differs:
        if not given.check:
            (given.docs / name).parent.mkdir(exist_ok=True)
            (given.docs / name).write_text(written[name], encoding="utf-8")
        print(f"{'differs' if given.check else 'wrote'}: docs/{name}")
    return int(given.check and bool(differs))


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
