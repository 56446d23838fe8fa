"""All code on the pages runs: commands with what they print, Python with what it prints, and every configuration.

One page is one folder and one namespace, from top to bottom. Nothing is compiled here: the compiler is switched off for
Python, and ``--no-compile`` is added to commands. What the comments in front of a block may say stands in ``blocks``.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ava import Config
from ava.cli import main
from ava.load import load_text
from tests.docs.blocks import DOCS, ROOT, Block, blocks, commands, pages, same
from tests.docs.names import NAMES

ELSEWHERE = {
    "ci.md": "tests/ci/test_pages.py",
    "lint.md": "tests/lint/test_docs.py",
    "migrate.md": "tests/ci/test_pages.py",
    "training-huggingface.md": "tests/docs/test_training_huggingface.py",
    "add-a-term.md": "tests/docs/test_pages.py",
}
"""Pages whose code another test runs, because it needs more than a folder: that test."""
RULES = "tests/lint/test_docs.py"
NOT_RUN = {"start.md": 2, "add-an-integration.md": 1}
"""Page to how many of its blocks are shown only. A new one is a decision: each says why in its comment."""
NO_COMPILE = ["--set", "compile.enabled=false"]
EAGER = {
    "dry-run": ["--no-compile"],
    "report": ["--no-compile"],
    "bench": ["--rows", "32", "--vocab-size", "256", "--rounds", "1", *NO_COMPILE],
}
"""Command to what is added to it here, so that nothing is compiled and nothing takes long."""
HERE = [page for page in pages() if page not in ELSEWHERE and not page.startswith("rules/")]


def test_every_page_is_run_somewhere() -> None:
    for page, test in ELSEWHERE.items():
        assert Path(page).name in (ROOT / test).read_text(encoding="utf-8"), page
    assert "every_rule" in (ROOT / RULES).read_text(encoding="utf-8")
    assert any(page.startswith("rules/") for page in pages())


def test_what_is_not_run_is_counted() -> None:
    shown = Counter(block.page for page in pages() for block in blocks(page) if block.not_run is not None)
    assert shown == NOT_RUN
    markers = Counter(
        page for page in pages() for _ in re.findall("<!-- not run", (DOCS / page).read_text(encoding="utf-8"))
    )
    assert markers == shown, "a comment stands in front of no block"


@pytest.mark.parametrize("page", HERE)
def test_a_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "AVA_PRESET_PATH", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    names: dict[str, Any] = {"__name__": "page"}
    code = list(blocks(page))
    for number, block in enumerate(code):
        if block.not_run is not None:
            continue
        if block.language == "console":
            _console(block)
        elif block.language == "python":
            after = code[number + 1] if number + 1 < len(code) and code[number + 1].language == "text" else None
            _python(block, after, names)
        else:
            _data(block, tmp_path)


def _console(block: Block) -> None:
    for command, shown in commands(block):
        program, *arguments = shlex.split(command)
        if program != "ava-loss":
            _exists(program, arguments, block)
            continue
        arguments += EAGER.get(arguments[0], []) if "--no-compile" not in arguments else []
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = main(arguments)
        assert code == block.exit, f"{block}: `{command}` ended with {code}:\n{out.getvalue()}"
        if shown:
            assert same(shown, out.getvalue()), f"{block}: `{command}` prints\n{out.getvalue()}"


def _exists(program: str, arguments: list[str], block: Block) -> None:
    """Hold what is not run here against the tree: a target of make, a script, an extra."""
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        wanted = [item for item in arguments if "=" not in item]
        assert wanted, block
        assert set(wanted) <= set(targets), f"{block}: make {wanted}"
    elif program == "python" and arguments[0].endswith(".py"):
        assert (ROOT / arguments[0]).is_file(), f"{block}: {arguments[0]}"
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        wanted = [name for item in re.findall(r"\[([\w,]+)\]", " ".join(arguments)) for name in item.split(",")]
        assert set(wanted) <= set(extras), f"{block}: {wanted}"
    else:
        pytest.fail(f"{block}: `{program}` is neither run nor checked; say `<!-- not run: REASON -->` in front of it")


def _python(block: Block, after: Block | None, names: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    if len(names) == 1:
        torch.manual_seed(0)
        names.update(NAMES[block.page]() if block.page in NAMES else {})
        if block.page.startswith("terms/"):
            names.update(NAMES["terms/"]())
    out = io.StringIO()
    with contextlib.redirect_stdout(out), torch.compiler.set_stance("force_eager"):
        exec(compile(block.text, str(block), "exec"), names)
    if out.getvalue():
        assert after is not None, f"{block} prints what the page does not show:\n{out.getvalue()}"
        assert same(after.text, out.getvalue()), f"{block} prints\n{out.getvalue()}"


def _data(block: Block, folder: Path) -> None:
    if block.file is not None:
        (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
        (folder / block.file).write_text(block.text, encoding="utf-8")
    if block.language == "yaml":
        data = dict(load_text(block.text).data)
        if block.file is None:  # a file is validated by the commands that read it
            Config.load({"version": 1, **data})
        if block.page.startswith("terms/"):
            (folder / "loss.yaml").write_text(block.text, encoding="utf-8")
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "json":
        json.loads(block.text)
    else:
        assert block.language in ("text", "mermaid"), f"{block}: nothing runs `{block.language}`"
