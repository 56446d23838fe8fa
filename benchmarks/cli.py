"""The command line against what it cannot do without: importing its libraries, and parsing the same YAML.

    python benchmarks/cli.py [--rounds 15] [--files 1000]

Whole processes, in turns, with their bytecode written beforehand. Processor time (user and system, of the process
alone) is compared, because other work on the machine does not change it much; wall time is recorded beside it.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ava.load import list_presets
from benchmarks.harness import Row, parser, report

VALIDATE = "import sys; from ava.cli import main; sys.exit(main(sys.argv[1:]))"
IMPORTS = "import typer, pydantic, yaml"
PARSE = """
import sys, pathlib, yaml
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["version"] == 1
"""
OFF = ("PYTHONDONTWRITEBYTECODE", "GITHUB_ACTIONS", "AVA_PRESET_PATH")  # each would change what is timed
Sides = Mapping[str, tuple[Sequence[str], int]]


def run(arguments: Sequence[str], code: int) -> tuple[float, float]:
    """Return the processor and wall seconds of a Python process, which must end with ``code``."""
    environment = {key: value for key, value in os.environ.items() if key not in OFF}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=environment, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == code, f"exit code {done.returncode} of {arguments}"
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def interleaved(sides: Sides, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return the median processor and wall seconds of each side, run in turns after a warm-up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for side in sides.values():
        run(*side)
    for _ in range(rounds):
        for name, side in sides.items():
            times[name].append(run(*side))
    processor, wall = (
        {name: statistics.median(item[index] for item in taken) for name, taken in times.items()} for index in (0, 1)
    )
    return processor, wall


def write(folder: Path, files: int, last: str = "") -> Path:
    """Fill ``folder`` with the presets' texts, each a little different; ``last`` is added to the last one."""
    texts = [preset.path.read_text(encoding="utf-8") for preset in list_presets()]
    folder.mkdir()
    for index in range(files):
        more = last if index == files - 1 else ""
        text = f"{texts[index % len(texts)]}# file {index}\n{more}"
        (folder / f"{index:05}.yaml").write_text(text, encoding="utf-8")
    return folder


def findings(folder: Path) -> int:
    """Return how many errors ``validate`` reports, so that a wrong fast answer does not count."""
    command = [sys.executable, "-c", VALIDATE, "validate", str(folder), "--format", "json"]
    done = subprocess.run(command, capture_output=True, check=False)
    return len(json.loads(done.stdout))


def main() -> None:
    """Measure, print and record."""
    made = parser(__doc__, rounds=15)
    made.add_argument("--files", type=int, default=1000)
    options = made.parse_args()
    if options.quick:
        options.rounds, options.files = 1, 20
    with tempfile.TemporaryDirectory() as temporary:
        right = write(Path(temporary) / "right", options.files)
        wrong = write(Path(temporary) / "wrong", options.files, last="balancing: often\n")
        assert findings(right) == 0
        assert findings(wrong) == 1
        imports, parse = IMPORTS, "yaml.safe_load of all files"
        one, all_right, all_but_one = "validate one preset", "validate all files", "validate all files, one wrong"
        processor, wall = interleaved(
            {
                imports: (["-c", IMPORTS], 0),
                one: (["-c", VALIDATE, "validate", "standard"], 0),
                parse: (["-c", PARSE, str(right)], 0),
                all_right: (["-c", VALIDATE, "validate", str(right)], 0),
                all_but_one: (["-c", VALIDATE, "validate", str(wrong)], 1),
            },
            options.rounds,
        )
    many = f"{options.files} files"
    rows = [
        Row(f"ava-loss {one} ÷ {imports}", 1.5, processor[one] / processor[imports], "1 preset"),
        Row(f"ava-loss {all_right} ÷ {parse}", 2.0, processor[all_right] / processor[parse], many),
        Row(f"ava-loss {all_but_one} ÷ {parse}", 2.0, processor[all_but_one] / processor[parse], many),
    ]
    seconds = {f"{name}, processor": value for name, value in processor.items()}
    seconds |= {f"{name}, wall": value for name, value in wall.items()}
    report("cli", rows, seconds, options)


if __name__ == "__main__":
    main()
