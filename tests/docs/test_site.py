"""The site builds without a warning, its links lead somewhere, and rules stand where findings say."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest

from ava.cli.rule import every_rule
from ava.config.write import SCHEMA_URL
from ava.errors import DOCS_URL, rule_url
from tests.docs.blocks import DOCS, ROOT, pages

NEEDED = ("sphinx", "myst_parser", "furo", "sphinx_copybutton")


@pytest.fixture(scope="module")
def checker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_site", DOCS / "check_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in NEEDED), reason="needs the extra `docs`: ava-loss[docs]"
)
def test_the_site(tmp_path: Path, checker: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "-b", "dirhtml", "-W", "--keep-going", "-q", "-d", tmp_path / "trees"]
    done = subprocess.run([*command, DOCS, site], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert checker.main([str(site)]) == 0, capsys.readouterr().out
    for page in pages():
        name = page.removesuffix(".md").removesuffix("index")
        assert (site / name / "index.html").is_file(), page
    for rule in every_rule():
        url = rule_url(rule.code, rule.name)
        assert url is not None
        assert (site / urlsplit(url).path.strip("/") / "index.html").is_file(), url
    schema = site / urlsplit(SCHEMA_URL).path.lstrip("/")
    assert schema.read_text() == (ROOT / "schemas" / "ava-loss.schema.json").read_text()
    assert SCHEMA_URL.startswith(DOCS_URL.removesuffix("rules/"))


def test_the_checker_finds_what_is_wrong(tmp_path: Path, checker: ModuleType) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "index.html").write_text('<p id="here"></p><a href="../">up</a>')
    (tmp_path / "index.html").write_text(
        '<a href="a/">good</a><a href="a/#here">good</a><a href="https://example.org/x">elsewhere</a>'
        '<link rel="canonical" href="https://example.org/">'
        '<a href="b/">bad</a><a href="a/#there">bad</a><img src="https://example.org/x.png"><img src="x.png">'
    )
    found = [line for line in checker.problems(tmp_path) if not line.startswith("rules/")]
    assert found == [
        "index.html: loads https://example.org/x.png",
        "index.html: b/ leads nowhere",
        "index.html: a/#there: there is no such place on that page",
        "index.html: x.png leads nowhere",
    ]
    assert "rules/unknown-key/: the page that findings link to is missing" in list(checker.problems(tmp_path))
