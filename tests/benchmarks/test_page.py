"""``docs/performance.md`` is what the records say, and its pictures are drawn to scale."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.chart import HEIGHT, LEFT, RIGHT, WIDTH, Line, chart

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"


def record(name, rows, **more):
    shared = {"date": "2026-01-02", "torch": "2.13.0", "python": "3.11.7", "threads": 2, "machine": "x86_64"}
    return {"benchmark": name, **shared, **more, "rows": rows}


def row(measured, goal=0.5, met=True):
    return {"what": "this ÷ that", "shape": "2 × 3", "goal": goal, "measured": measured, "met": met}


def test_the_page_is_up_to_date_and_needs_no_torch():
    code = "import sys; from benchmarks.page import main\ncode = main(['--check'])\nassert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nsys.exit(code)"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, f"run `python benchmarks/page.py`\n{done.stdout}{done.stderr}"


def test_every_script_has_its_place():
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    named = [name for _, name, _ in page.BLOCK.findall(text)]
    assert sorted(named) == sorted({"logits", "terms", "linear", "memory", "scaling", "compile", "cli", "gpu"})


def test_figures_come_from_the_records(tmp_path):
    rows = [row(0.4), row(0.61, met=False), row(3.0, goal=None, met=None)]
    (tmp_path / "logits.json").write_text(json.dumps(record("logits", rows, load=0.25)), encoding="utf-8")
    text = "Before.\n<!-- begin logits -->\nold\n<!-- end logits -->\n<!-- begin gpu -->\n<!-- end gpu -->\n"
    made = page.pages(text, tmp_path)
    assert list(made) == ["performance.md"]
    assert "old" not in made["performance.md"]
    assert made["performance.md"].startswith("Before.\n")
    assert "| this ÷ that | 2 × 3 | ≤ 0.5 | **0.40** | yes |" in made["performance.md"]
    assert "| this ÷ that | 2 × 3 | ≤ 0.5 | 0.61 | no |" in made["performance.md"]
    assert "| this ÷ that | 2 × 3 |  | 3 |  |" in made["performance.md"]
    assert "load average 0.2 at the end" in made["performance.md"]
    assert "Not measured yet: `python benchmarks/gpu.py`." in made["performance.md"]
    assert page.pages(made["performance.md"], tmp_path) == made


def test_the_check_sees_a_drift(tmp_path, monkeypatch, capsys):
    records, docs = tmp_path / "records", tmp_path / "docs"
    records.mkdir()
    docs.mkdir()
    (docs / "performance.md").write_text("<!-- begin cli -->\n<!-- end cli -->\n", encoding="utf-8")
    monkeypatch.setattr(page, "DOCS", docs)
    monkeypatch.setattr(page, "RECORDS", records)
    monkeypatch.setattr(page.pages, "__defaults__", (records,))
    assert page.main(["--check"]) == 1
    assert page.main([]) == 0 == page.main(["--check"])
    (records / "cli.json").write_text(json.dumps(record("cli", [row(0.1)])), encoding="utf-8")
    assert page.main(["--check"]) == 1
    assert "differs: docs/performance.md" in capsys.readouterr().out


def test_sizes_become_pictures_and_points(tmp_path):
    def points(sizes):
        return [{"size": size, "sides": {"ours": {"seconds": size / 1e3, "bytes": size << 20}}} for size in sizes]

    scaling = record(
        "scaling",
        [row(1.0)],
        fixed={"vocabulary": "10 rows", "rows": "20 columns"},
        series={"vocabulary": points((1, 2, 4)), "rows": points((3, 6, 12))},
    )
    (tmp_path / "scaling.json").write_text(json.dumps(scaling), encoding="utf-8")
    made = page.pages("<!-- begin scaling -->\n<!-- end scaling -->\n", tmp_path)
    shown = re.findall(r"\]\((performance/[\w-]+\.svg)\)", made["performance.md"])
    assert sorted(shown) == sorted(set(made) - {"performance.md"})
    assert len(shown) == 4
    assert "| ours | 12 rows, 20 columns | 12 | 12 |" in made["performance.md"]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 730.0])
def test_a_picture_is_to_scale(scale):
    text = chart("a < b", "size", "figure", [Line("one", [(1, scale), (2, 2 * scale), (4, 4 * scale)])])
    root = ElementTree.fromstring(text)
    (line,) = root.findall(f"{SVG}polyline")
    places = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    floor = max(float(path.attrib["d"].split(",")[1].split("H")[0]) for path in root.findall(f"{SVG}path"))
    ceiling = min(float(path.attrib["d"].split(",")[1].split("H")[0]) for path in root.findall(f"{SVG}path"))
    assert [round((x - LEFT) / (WIDTH - LEFT - RIGHT), 2) for x, _ in places] == [0.25, 0.5, 1.0]
    rises = [floor - y for _, y in places]
    assert rises == pytest.approx([rises[0], 2 * rises[0], 4 * rises[0]], abs=0.3)
    assert all(ceiling - 0.05 <= y <= floor for _, y in places)
    assert rises[2] > 0.5 * (floor - ceiling)
    assert 3 <= len(root.findall(f"{SVG}path")) <= 6
    assert float(root.attrib["height"]) > HEIGHT - 1
    assert root.find(f"{SVG}title").text == "a < b"
