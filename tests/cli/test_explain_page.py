"""The page of ``explain --format html`` in a browser."""

from __future__ import annotations

import pytest

from ava.load import list_presets
from tests.browser import chromium

PRESETS = [preset.name for preset in list_presets() if preset.origin == "shipped"]
CONTRAST = """
const light = c => { const v = c.match(/[\\d.]+/g).map(x => x / 255).slice(0, 3)
  .map(x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4); return .2126*v[0] + .7152*v[1] + .0722*v[2]; };
const back = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
  if (!c.startsWith('rgba(0, 0, 0, 0')) return c; } return 'rgb(255, 255, 255)'; };
let worst = 21;
for (const e of document.querySelectorAll('h1,h2,h3,p,td,th,a,dt,dd,code')) {
  if (!e.textContent.trim()) continue;
  const [a, b] = [light(getComputedStyle(e).color), light(back(e))].sort((x, y) => y - x);
  worst = Math.min(worst, (a + .05) / (b + .05)); }
return worst;
"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.mark.parametrize("name", PRESETS)
def test_the_page_loads_alone_and_shows_what_the_json_says(run, browser, tmp_path, name):
    page = tmp_path / "page.html"
    schedule = ["--set", "terms.z_loss={weight: {from: 0, to: 1e-2, steps: 100}}"]
    assert run("explain", name, "--format", "html", "--output", page, *schedule).code == 0
    told = run("explain", name, "--format", "json", *schedule).json
    for dark, width in ((False, 1280), (True, 360)):
        browser.open(page, dark=dark, width=width)
        assert browser.complaints() == []
        assert [url for url in browser.requests() if not url.startswith(("file:", "data:", "about:"))] == []
        assert browser.run(CONTRAST) > 4.5
        assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    widths = browser.run(
        "return [...document.querySelectorAll('#terms rect.bar')].map(bar => bar.getAttribute('width') / 100)"
    )
    shares = [share for term in told["terms"].values() for share in _shares(term)]
    assert widths == pytest.approx(shares, abs=1e-5)
    assert browser.run("return document.querySelectorAll('#values tbody tr').length") == len(told["values"])


def _shares(term):
    shares = [term["share"], term["last_share"]] if term["sparkline"] else [term["share"]]
    return [share or 0 for share in shares]
