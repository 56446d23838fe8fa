"""The pages in Chromium: they load nothing, complain of nothing, and their pictures show what the numbers say."""

from __future__ import annotations

import copy
import math
import random
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ava.cli import main
from ava.config import Config
from ava.plan.explain import explain
from ava.report.heat import STRENGTH
from ava.report.log import log_page, read_run
from ava.report.measured import parse_dry_run
from ava.report.preset import preset_page

from .conftest import record

SCHEDULE = {"from": 0.0, "to": 0.3, "steps": 2000, "delay": 500, "shape": "cosine"}
CONTRAST = """
const parse = (text) => {
  const mixed = text.match(/color\\(srgb ([\\d.e-]+) ([\\d.e-]+) ([\\d.e-]+)(?: \\/ ([\\d.e-]+))?\\)/);
  if (mixed) return [...mixed.slice(1, 4).map((part) => 255 * part), mixed[4] === undefined ? 1 : Number(mixed[4])];
  const parts = text.match(/[\\d.]+/g).map(Number);
  return [parts[0], parts[1], parts[2], parts.length > 3 ? parts[3] : 1];
};
const light = (color) => {
  const [r, g, b] = color.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let node = element; node; node = node.parentElement) {
    const color = parse(getComputedStyle(node).backgroundColor);
    if (color[3] > 0.99) return color;
  }
  return [255, 255, 255, 1];
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const poor = [];
let seen = 0;
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || element.closest("svg, script, .unseen, .skip")) continue;
  if (!element.checkVisibility()) continue;
  const [one, other] = [parse(getComputedStyle(element).color), behind(element)].map(light);
  const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  seen += 1;
  if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${element.className} ${walker.currentNode.data.trim()}`);
}
return [seen, poor];
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture
def preset(folder, dry_run) -> Path:
    config = Config.load("standard", overrides={"terms.ngram_penalty.weight": SCHEDULE})
    path = folder / "preset.html"
    path.write_text(preset_page(explain(config), parse_dry_run(dry_run, "dry-run.json")), encoding="utf-8")
    return path


@pytest.fixture
def logs(folder, write_log, run_a, run_b) -> Path:
    paths = [write_log("a.jsonl", run_a), write_log("b.jsonl", run_b)]
    path = folder / "logs.html"
    path.write_text(log_page([read_run(str(item), item.name) for item in paths]), encoding="utf-8")
    return path


@pytest.fixture(params=["preset", "logs"])
def page(request) -> Path:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_renders_in_every_setting(browser, page, width, dark):
    browser.open(page, width=width, dark=dark)
    assert browser.complaints() == []
    assert browser.requests() == [page.resolve().as_uri()]
    assert browser.run("return document.documentElement.scrollWidth") <= width
    wide = browser.run(
        "return [...document.querySelectorAll('body *')].filter((item) =>"
        " !item.closest('.scroll, nav ul, .unseen, .skip')"
        " && item.getBoundingClientRect().right > innerWidth + 0.5).map((item) => item.outerHTML.slice(0, 80))"
    )
    assert wide == []
    seen, poor = browser.run(CONTRAST)
    assert seen > 100
    assert poor == []


def test_dark_differs(browser, page):
    colors = []
    for dark in (False, True):
        browser.open(page, dark=dark)
        colors.append(
            browser.run(
                "return [document.body, document.querySelector('section'), document.querySelector('h1')]"
                ".flatMap((item) => [getComputedStyle(item).backgroundColor, getComputedStyle(item).color])"
            )
        )
    assert colors[0][0] != colors[1][0]
    assert colors[0][2] != colors[1][2]
    assert colors[0][5] != colors[1][5]


def test_paper_is_white_and_without_navigation(browser, page):
    browser.open(page, dark=True)
    browser.command("Emulation.setEmulatedMedia", media="print")
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("return getComputedStyle(document.body).color") == "rgb(28, 33, 40)"
    assert browser.run("return getComputedStyle(document.querySelector('nav')).display") == "none"


def test_every_picture_has_a_name_and_a_description(browser, page):
    browser.open(page)
    told = browser.run(
        "return [...document.querySelectorAll('svg')].map((svg) => [svg.getAttribute('role'),"
        " svg.querySelector(':scope > title')?.textContent, svg.querySelector(':scope > desc')?.textContent])"
    )
    assert len(told) > 8
    assert all(role == "img" and title and description for role, title, description in told)


def test_landmarks_and_headings(browser, page):
    browser.open(page)
    for tag in ("header", "nav", "main", "footer", "h1"):
        assert browser.run("return document.querySelectorAll(`body ${arguments[0]}`).length", tag) == 1
    levels = browser.run(
        "return [...document.querySelectorAll('h1, h2, h3, h4')].map((item) => Number(item.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert browser.run(
        "return [...document.querySelectorAll('nav a')].every((link) => document.querySelector(link.hash))"
    )
    ids = browser.run("return [...document.querySelectorAll('[id]')].map((item) => item.id)")
    assert len(ids) == len(set(ids))
    assert browser.run("return [...document.querySelectorAll('table')].every((item) => item.caption && item.tHead)")


def test_the_keyboard_reaches_everything_in_order(browser, page):
    browser.open(page)
    expected = browser.run(
        "return [...document.querySelectorAll('a[href], summary, [tabindex=\"0\"]')]"
        ".filter((item) => item.checkVisibility()).map((item) => item.getBoundingClientRect().top + scrollY)"
    )
    reached = []
    for _ in range(len(expected)):
        browser.press("Tab")
        reached.append(
            browser.run(
                "const at = document.activeElement; return [at.tagName, at.textContent.trim().slice(0, 20),"
                " getComputedStyle(at).outlineStyle,"
                " [...document.querySelectorAll('a[href], summary, [tabindex=\"0\"]')]"
                ".filter((item) => item.checkVisibility()).indexOf(at)]"
            )
        )
    assert reached[0][:2] == ["A", "Skip to the report"]
    assert [index for *_, index in reached] == list(range(len(expected)))
    assert all(outline != "none" for _, _, outline, _ in reached)


def test_details_open_by_keyboard(browser, preset):
    browser.open(preset)
    browser.run("document.querySelector('#values summary').focus()")
    assert not browser.run("return document.querySelector('#values table').checkVisibility()")
    browser.press("Enter")
    assert browser.run("return document.querySelector('#values table').checkVisibility()")


def test_bars_are_as_long_as_the_shares(browser, preset, dry_run):
    browser.open(preset)
    drawn = browser.run(
        "return [...document.querySelectorAll('#measured .shares tbody tr')].map((row) => [row.cells[0].textContent,"
        " ...[...row.querySelectorAll('svg')].flatMap((svg) => [svg.querySelector('.bar').getBBox().width,"
        " svg.querySelector('.bar').getBoundingClientRect().width / svg.getBoundingClientRect().width])])"
    )
    assert [row[0] for row in drawn] == list(dry_run["terms"])
    for name, *widths in drawn:
        for key, (units, part) in zip(("contribution", "gradient_share"), (widths[:2], widths[2:]), strict=True):
            share = dry_run["terms"][name][key]
            assert units == pytest.approx(100 * share, rel=1e-4)
            assert part == pytest.approx(share, abs=1e-3)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_heat_map_is_coloured_by_its_numbers(browser, preset, dry_run, dark):
    browser.open(preset, dark=dark)
    card, negative, positive = (
        browser.run("const item = document.createElement('i'); item.style.background = `var(${arguments[0]})`;"
                    " document.body.append(item); return getComputedStyle(item).backgroundColor", name)
        for name in ("--card", "--neg", "--pos")
    )  # fmt: skip
    cells = browser.run(
        "return [...document.querySelectorAll('.heat tbody tr')].map((row) => [...row.cells].map((cell) =>"
        " [cell.textContent.trim(), getComputedStyle(cell).backgroundColor]))"
    )
    names = list(dry_run["conflicts"])
    assert len(cells) == len(names)
    for name, row in zip(names, cells, strict=True):
        assert row[0][0].endswith(name)
        for other, (text, color) in zip(names, row[1:], strict=True):
            if name == other:
                assert text == "same term"
                continue
            cosine = dry_run["conflicts"][name][other]
            assert float(text.replace("−", "-")) == pytest.approx(cosine, abs=0.005)
            share = STRENGTH / 100 * abs(cosine)
            strong = rgb(negative if cosine < 0 else positive)
            mixed = [share * one + (1 - share) * other for one, other in zip(strong, rgb(card), strict=True)]
            assert rgb(color) == pytest.approx(mixed, abs=1.0)


def rgb(text: str) -> list[float]:
    numbers = [float(part) for part in re.findall(r"[\d.]+(?:e-?\d+)?", text)][:3]
    return [255 * part for part in numbers] if text.startswith("color(srgb") else numbers


def lines(browser, name: str) -> dict[str, list[list[tuple[float, float]]]]:
    """Return what a chart draws, run by run and stretch by stretch, as steps and values."""
    axes, drawn = browser.run(
        "const svg = [...document.querySelectorAll('.plot svg')].find((item) =>"
        " item.querySelector('title').textContent === arguments[0]);"
        "return [{...svg.parentElement.dataset}, [...svg.querySelectorAll('g.line')].map((group) => [group.dataset.run,"
        " [...group.querySelectorAll('polyline.values')].map((line) => [...line.points].map((at) => [at.x, at.y]))])]",
        name,
    )
    low, high, bottom, top = (float(axes[key]) for key in ("low", "high", "bottom", "top"))

    def value(up: float) -> float:
        return bottom * (top / bottom) ** up if axes.get("log") else bottom + up * (top - bottom)

    return {
        run: [[(low + x / 1000 * (high - low), value(1 - y / 1000)) for x, y in part] for part in parts]
        for run, parts in drawn
    }


def test_weight_curves_follow_the_schedule(browser, preset):
    browser.open(preset)
    config = Config.load("standard", overrides={"terms.ngram_penalty.weight": SCHEDULE})
    term = next(item for item in config.enabled if item.name == "ngram_penalty")
    (points,) = lines(browser, "Weight of ngram_penalty over the steps")["ngram_penalty"]
    assert (points[0][0], points[-1][0]) == (0, pytest.approx(2750))
    assert len(points) > 50
    for step, value in points:
        assert value == pytest.approx(term.weight_at(round(step)), abs=5e-4)
    (flat,) = lines(browser, "Weight of eos_penalty over the steps")["eos_penalty"]
    assert all(value == pytest.approx(0.05, abs=1e-4) for _, value in flat)


def values_of(records: list[dict[str, Any]], key: str) -> dict[float, float]:
    return {float(item["step"]): item[key] for item in records if item[key] is not None and math.isfinite(item[key])}


@pytest.mark.parametrize(
    ("title", "key"),
    [
        ("total over the steps", "loss/total"),
        ("main (weighted) over the steps", "loss/main"),
        ("ngram_penalty (weighted) over the steps", "loss/ngram_penalty"),
        ("ngram_penalty (raw) over the steps", "raw/ngram_penalty"),
        ("temperature over the steps", "metrics/temperature"),
        ("expert_load_max over the steps", "metrics/expert_load_max"),
        ("lr over the steps", "lr"),
    ],
)
def test_lines_show_the_values(browser, logs, run_a, run_b, title, key):
    browser.open(logs)
    drawn = lines(browser, title)
    for name, records in (("a.jsonl", run_a), ("b.jsonl", run_b)):
        expected = values_of(records, key)
        points = [point for part in drawn[name] for point in part]
        assert len(points) == len(expected)
        spread = max(expected.values()) - min(expected.values()) or 1.0
        for step, value in points:
            assert step == pytest.approx(round(step), abs=0.01)
            assert value == pytest.approx(expected[round(step)], abs=2e-3 * spread)


def test_lines_break_where_values_are_missing(browser, logs):
    browser.open(logs)
    drawn = lines(browser, "total over the steps")
    ends = {run: [(round(part[0][0]), round(part[-1][0])) for part in parts] for run, parts in drawn.items()}
    assert ends == {"a.jsonl": [(1, 199), (205, 300)], "b.jsonl": [(1, 180), (220, 250)]}


def test_marks_stand_at_their_steps(browser, logs):
    browser.open(logs)
    marks = browser.run(
        "const plot = document.querySelector('#total .plot'); const box = plot.getBoundingClientRect();"
        "return [...plot.querySelectorAll('.mark')].map((mark) => { const at = mark.getBoundingClientRect();"
        " return [mark.classList[1], Number(mark.dataset.step), (at.left + at.width / 2 - box.left) / box.width,"
        " mark.title]; })"
    )
    assert sorted((kind, step) for kind, step, *_ in marks) == [("missing", 200), ("resumed", 101), ("spike", 150)]
    for _, step, place, title in marks:
        assert place == pytest.approx((step - 1) / 299, abs=2e-3)
        assert str(step) in title
    shaded = browser.run("const box = document.querySelector('#total .gone').getBBox(); return [box.x, box.width]")
    assert shaded == pytest.approx([1000 * 199 / 299, 1000 * 4 / 299], rel=1e-3)


def test_runs_share_axes_and_are_told_apart_without_colour(browser, logs):
    browser.open(logs)
    plots = browser.run(
        "return [...document.querySelectorAll('.plot')].map((plot) => [plot.dataset.low, plot.dataset.high])"
    )
    assert set(map(tuple, plots)) == {("1.0", "300.0")}
    looks = browser.run(
        "return [...document.querySelectorAll('#total .trend')].map((line) => { const style = getComputedStyle(line);"
        " return [style.stroke, style.strokeDasharray]; })"
    )
    assert looks[0][0] != looks[1][0]
    assert looks[0][1] != looks[1][1]
    assert browser.run(
        "return [...document.querySelectorAll('#total .letter')].map((item) => item.textContent).sort()"
    ) == [
        "A",
        "B",
    ]


def test_the_pointer_reads_values_out(browser, logs, run_a):
    browser.open(logs)
    text = browser.run(
        "const plot = document.querySelector('#total .plot'); plot.scrollIntoView();"
        "const box = plot.getBoundingClientRect();"
        "plot.dispatchEvent(new PointerEvent('pointermove', {clientX: box.left + box.width * 99 / 299}));"
        "return plot.parentElement.querySelector('.readout').textContent"
    )
    assert text.startswith("step 100 · a.jsonl: ")
    shown = float(re.search(r"a\.jsonl: ([\d.]+)", text)[1])
    assert shown == pytest.approx(run_a[99]["loss/total"], abs=0.05)


def test_the_summary_agrees_with_the_log(browser, logs, run_a):
    browser.open(logs)
    rows = browser.run(
        "return [...document.querySelectorAll('#summary tbody tr')].map((row) => [...row.cells].map((cell) =>"
        " cell.textContent))"
    )
    row = next(row for row in rows if row[:2] == ["loss/total", "A"])
    values = values_of(run_a, "loss/total")
    assert float(row[2]) == pytest.approx(values[1], rel=1e-3)
    assert float(row[3]) == pytest.approx(values[300], rel=1e-3)
    lowest, step = row[4].split(" @ ")
    assert float(step) == min(values, key=values.__getitem__)
    assert float(lowest) == pytest.approx(min(values.values()), rel=1e-3)
    assert row[5] == "12 @ 150"
    assert row[7:] == ["1", "5"]


HOSTILE = (
    "</title><script>document.title = 'taken'; window.taken = 1</script><img src=x onerror=window.taken=1>\" onx='"
)


def harmless(browser, path: Path) -> None:
    browser.open(path)
    assert browser.complaints() == []
    assert browser.run("return window.taken === undefined && document.querySelectorAll('script').length === 1")
    assert browser.run("return document.querySelectorAll('img, iframe, object, [onx], [onerror]').length") == 0
    assert browser.run(
        "return [...document.querySelectorAll('a')].every((link) => /^(https?:|#)/.test(link.getAttribute('href')))"
    )


def test_names_in_a_log_are_text(browser, folder, write_log):
    noise = random.Random(5)
    keys = {f"loss/{HOSTILE}": 1.0, f"raw/{HOSTILE}": 2.0, HOSTILE: None, "\ud800\u202e": 3.0}
    path = write_log("x.jsonl", [record(step, noise, **keys) for step in range(1, 30)] + [HOSTILE])
    page = folder / "hostile.html"
    runs = [read_run(str(path), HOSTILE), read_run(str(path), HOSTILE + "2")]
    page.write_text(log_page(runs, HOSTILE), encoding="utf-8")
    harmless(browser, page)
    assert HOSTILE in browser.run("return document.querySelector('h1').textContent")
    assert f"loss/{HOSTILE}" in browser.run("return document.querySelector('#summary').textContent")


def test_words_of_a_configuration_and_a_dry_run_are_text(browser, folder, dry_run):
    told = copy.deepcopy(dry_run)
    told["preset"] = HOSTILE
    told["notes"] = [HOSTILE]
    told["findings"][0] |= {
        "message": HOSTILE,
        "name": HOSTILE,
        "url": "javascript:window.taken=1",
        "severity": HOSTILE,
    }
    config = Config.load({"version": 1, "description": HOSTILE, "extends": "standard"})
    page = folder / "hostile_preset.html"
    page.write_text(preset_page(explain(config), parse_dry_run(told, HOSTILE), title=HOSTILE), encoding="utf-8")
    harmless(browser, page)
    assert browser.run("return document.querySelector('.lead').textContent") == HOSTILE


def test_a_very_long_run_keeps_its_spikes_in_a_small_file(browser, folder, write_log):
    noise = random.Random(6)
    names = [f"term_{index}" for index in range(4)]
    log = []
    for step in range(1, 100_001):
        value = 3 + noise.gauss(0, 0.1) + (9 if step in (33_333, 77_777) else 0)
        terms = "".join(f', "loss/{name}": {0.1 * value:.4f}, "raw/{name}": {value:.4f}' for name in names)
        log.append(f'{{"step": {step}, "loss/total": {value:.4f}{terms}}}')
    path, page = write_log("long.jsonl", log), folder / "long.html"
    assert main(["report", str(path), "--output", str(page)]) == 0
    assert page.stat().st_size < 2_000_000
    browser.open(page)
    assert browser.complaints() == []
    (points,) = lines(browser, "total over the steps")["long.jsonl"]
    assert len(points) < 1000
    peaks = sorted(points, key=lambda point: -point[1])[:2]
    assert sorted(round(step) for step, _ in peaks) == pytest.approx([33_333, 77_777], abs=1)
    steps = browser.run(
        "return [...document.querySelectorAll('#total .spike')].map((mark) => Number(mark.dataset.step))"
    )
    assert steps == [33_333, 77_777]


def test_a_log_of_one_step(browser, folder, write_log, capsys: Any):
    path, page = write_log("one.jsonl", [{"step": 7, "loss/total": 2.0}]), folder / "one.html"
    assert main(["report", str(path), "-o", str(page)]) == 0
    browser.open(page)
    assert browser.complaints() == []
    assert browser.run("return document.querySelectorAll('#total path.point').length") == 1
