"""Write the tables and pictures of ``docs/performance.md`` from the records, so that the page cannot drift from them.

    python benchmarks/page.py [--check]

A table stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``; the text around it is written by hand. Needs
no torch.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.chart import Line, chart

ROOT = Path(__file__).resolve().parent.parent
RECORDS, DOCS = ROOT / "benchmarks" / "records", ROOT / "docs"
PAGE, PICTURES = "performance.md", "performance"
BLOCK = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)
AXES = {"vocabulary": "columns of the logits", "rows": "rows"}
FIGURES = {"time": ("seconds", 1e3, "milliseconds"), "memory": ("bytes", 2**-20, "MiB above the inputs")}
Record = dict[str, Any]


def pages(page: str, records: Path = RECORDS) -> dict[str, str]:
    """Return the page and its pictures, by their path under ``docs/``.

    Args:
        page: the text of the page as it stands.
        records: folder of the JSON records.
    """
    read = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(records.glob("*.json"))}

    def block(found: re.Match[str]) -> str:
        return f"{found[1]}\n{_block(found[2], read)}\n{found[3]}"

    made = {PAGE: BLOCK.sub(block, page)}
    if "scaling" in read:
        made |= pictures(read["scaling"])
    return made


def _block(name: str, read: dict[str, Record]) -> str:
    if name not in read:
        return f"Not measured yet: `python benchmarks/{name}.py`.\n"
    record = read[name]
    if name == "compile":
        return f"{ran(record)}\n\n{table(record)}\n{compiling(record)}"
    if name == "scaling":
        return f"{ran(record)}\n\n{gallery(record)}\n{points(record)}\n{table(record)}"
    return f"{ran(record)}\n\n{table(record)}"


def ran(record: Record) -> str:
    """Return when and where a record was taken, in a sentence or two."""
    where = record.get("device") or f"{record['threads']} threads, {record['machine']}"
    more = f" ({record['instructions']})" if "instructions" in record and "device" not in record else ""
    load = f", load average {record['load']:.1f} at the end" if "load" in record else ""
    return f"{record['date']}, torch {record['torch']}, Python {record['python']}, {where}{more}{load}."


def table(record: Record) -> str:
    """Return goal, measured and met of each row."""
    rows = [
        (
            row["what"],
            row["shape"],
            "" if row["goal"] is None else f"≤ {row['goal']:g}",
            f"**{measured(row)}**" if row["met"] else measured(row),
            {True: "yes", False: "no", None: ""}[row["met"]],
        )
        for row in record["rows"]
        if "seconds to compile" not in row["what"]
    ]
    return markdown(("what", "shape", "goal", "measured", "met"), rows)


def measured(row: Record) -> str:
    """Return a figure with two or three digits."""
    value = row["measured"]
    return f"{value:.0f}" if value == int(value) else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def compiling(record: Record) -> str:
    """Return the seconds to compile of each preset and engine."""
    rows = [
        (f"`{preset}`", engine, f"{taken['graphs']}", f"{taken['cold seconds']:.1f}", f"{taken['cached seconds']:.1f}")
        for name, taken in record["presets"].items()
        for preset, engine in [name.split(", ")]
    ]
    return markdown(("preset", "engine", "graphs", "seconds, cold", "seconds, cached"), rows)


def points(record: Record) -> str:
    """Return milliseconds and MiB at every size."""
    rows = []
    for name, series in record["series"].items():
        for point in series:
            for side, taken in point["sides"].items():
                size = f"{point['size']:,} {AXES[name]}, {record['fixed'][name]}"
                rows.append((side, size, f"{taken['seconds'] * 1e3:.0f}", f"{taken['bytes'] / 2**20:.0f}"))
    return markdown(("what", "size", "ms", "MiB"), rows)


def gallery(record: Record) -> str:
    """Return the pictures as the page shows them."""
    names = [(figure, name) for figure in FIGURES for name in record["series"]]
    return "".join(f"![{figure} against {AXES[name]}]({PICTURES}/{figure}-{name}.svg)\n" for figure, name in names)


def pictures(record: Record) -> dict[str, str]:
    """Return the pictures of time and memory against each size."""
    made = {}
    for figure, (field, factor, unit) in FIGURES.items():
        for name, series in record["series"].items():
            lines = [
                Line(side, [(point["size"], factor * point["sides"][side][field]) for point in series])
                for side in series[0]["sides"]
            ]
            title = f"{figure} against {AXES[name]}, {record['fixed'][name]}"
            across = f"{AXES[name]}, at {record['fixed'][name]}"
            made[f"{PICTURES}/{figure}-{name}.svg"] = chart(title, across, unit, lines)
    return made


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or hold it against the records."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--check", action="store_true", help="write nothing; exit 1 if something differs")
    check = made.parse_args(arguments).check
    written = pages((DOCS / PAGE).read_text(encoding="utf-8"))
    differs = [name for name, text in written.items() if not _is(DOCS / name, text)]
    for name in differs:
        if not check:
            (DOCS / name).parent.mkdir(exist_ok=True)
            (DOCS / name).write_text(written[name], encoding="utf-8")
        print(f"{'differs' if check else 'wrote'}: docs/{name}")
    return int(check and bool(differs))


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    raise SystemExit(main())
