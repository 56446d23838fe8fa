"""The generated pages are what the code says, and what they show works."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from ava import Config, Loss, Plan
from ava.cli.rule import every_rule
from ava.config import ROSTER
from ava.lint.subject import Subject
from ava.load import load_text
from ava.plan.subjects import term_page
from ava.terms.advice import Project

DOCS = Path(__file__).parents[2] / "docs"
EAGER = {"compile.enabled": False}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(text: str, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def test_the_pages_are_up_to_date(generate: ModuleType) -> None:
    for name, text in generate.pages().items():
        assert (DOCS / name).is_file(), f"docs/{name}: run `python docs/generate.py`"
        assert (DOCS / name).read_text(encoding="utf-8") == text, f"docs/{name}: run `python docs/generate.py`"


def test_the_check_and_no_torch(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path[:0] = [{str(DOCS)!r}, {str(DOCS.parent)!r}]\nimport generate\n"
        "status = generate.main(['--check']); assert 'torch' not in sys.modules\n"
        f"generate.DOCS = generate.Path({str(tmp_path)!r})\n(generate.DOCS / 'terms').mkdir()\n"
        "(generate.DOCS / 'terms' / 'old.md').touch()\n"
        "assert generate.main(['--check']) == 1 and generate.main([]) == 0 == generate.main(['--check'])\n"
        "assert not (generate.DOCS / 'terms' / 'old.md').exists()\n"
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "differs: docs/terms/old.md\n" in done.stdout


@pytest.mark.parametrize("name", ["main_loss", *ROSTER])
def test_a_page_tells_all(name: str) -> None:
    text = (DOCS / "terms" / f"{name}.md").read_text(encoding="utf-8")
    term, fields, _ = term_page(ROSTER.get(name))
    for heading in ("When it helps", "When it hurts", "Fields", "Needs", "Cost", "In a file"):
        assert f"\n## {heading}\n" in text
    assert term.formula in text
    for field in fields:
        assert f"| `{field.path[-1]}` |" in text or field.path == ("primary", "temperature")
        assert field.description in text or field.path == ("primary", "temperature")
    for source in term.sources:
        assert source.link in text
    (document,) = blocks(text, "yaml")
    config = Config.load(dict(load_text(document).data))
    assert [item.name for item in config.enabled] == ([] if name == "main_loss" else [name])
    (example,) = blocks(text, "python")
    for needed in Plan(config).inputs:
        assert f"{needed}={needed}" in example


DRAWN: dict[str, dict[str, Any]] = {
    "focal_loss": {"gamma": 5.0},
    "immediate_repetition_penalty": {},
    "ngram_penalty": {"size": 1},
    "eos_penalty": {},
    "token_diversity_loss": {},
}


@pytest.mark.parametrize("p", [0.02, 0.4, 0.9])
def test_the_curves_are_the_terms(generate: ModuleType, p: float) -> None:
    """A vocabulary of two tokens: the model gives ``p`` to token 1, and its context is token 1."""
    terms = DRAWN
    logits = torch.tensor([[[1 - p, p]] * 2], dtype=torch.float64).log()
    model = {"vocab_size": 2, "eos_token_id": 1}
    loss = Loss.load({"version": 1, "model": model, "terms": terms}, overrides=EAGER)
    one_document = {"segment_ids": torch.zeros(1, 2, dtype=torch.int64), "return_detailed": True}
    right = loss(logits, torch.tensor([[-100, 1]]), input_ids=torch.tensor([[0, 0]]), **one_document)
    wrong = loss(logits, torch.tensor([[-100, 0]]), input_ids=torch.tensor([[1, 1]]), **one_document)
    curves = {name: lines[-1] for name, (_, lines) in generate.CURVES.items()}
    assert right["main_loss"].item() == pytest.approx(curves.pop("main_loss").value(p))
    assert right["raw/focal_loss"].item() == pytest.approx(curves.pop("focal_loss").value(p))
    assert set(curves) | {"focal_loss"} == set(terms)
    for name, curve in curves.items():
        assert wrong[f"raw/{name}"].item() == pytest.approx(curve.value(p)), name


@pytest.mark.parametrize("p", [0.02, 0.4, 0.9])
@pytest.mark.parametrize("name", ["main_loss", *DRAWN])
def test_the_slopes_are_the_gradients(generate: ModuleType, name: str, p: float) -> None:
    target = 1 if name in ("main_loss", "focal_loss") else 0
    context = torch.tensor([[1 - target] * 2])

    def gradient(terms: dict[str, dict[str, Any]]) -> float:
        logits = torch.tensor([[[1 - p, p]] * 2], dtype=torch.float64).log().requires_grad_()
        loss = Loss.load({"version": 1, "model": {"vocab_size": 2, "eos_token_id": 1}, "terms": terms}, overrides=EAGER)
        one_document = torch.zeros(1, 2, dtype=torch.int64)
        loss(logits, torch.tensor([[-100, target]]), input_ids=context, segment_ids=one_document).backward()
        assert logits.grad is not None
        return logits.grad[0, 1, 1].item()

    alone = gradient({})
    added = alone if name == "main_loss" else gradient({name: {**DRAWN[name], "weight": 1.0}}) - alone
    assert added == pytest.approx(generate.CURVES[name][1][-1].slope(p), rel=1e-4, abs=1e-6)


def test_pictures_are_well_formed_and_shown(generate: ModuleType) -> None:
    for name, (_, lines) in generate.CURVES.items():
        root = ElementTree.parse(DOCS / "terms" / f"{name}.svg").getroot()
        assert len(root.findall("{*}polyline")) == 2 * len(lines)
        assert f"]({name}.svg)" in (DOCS / "terms" / f"{name}.md").read_text(encoding="utf-8")


def test_links_lead_somewhere() -> None:
    for page in [*DOCS.glob("terms/*.md"), DOCS / "add-a-term.md", DOCS / "unified-loss.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#\w+)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_how_to_add_a_rule() -> None:
    """The rule on the page finds its own example, and nothing in what to use instead; its code is free."""
    (source,) = blocks((DOCS / "add-a-rule.md").read_text(encoding="utf-8"), "python")
    names: dict[str, Any] = {}
    exec(source, names)
    rule = names["RULE"]
    assert rule.code not in {other.code for other in every_rule()}
    wrong, right = blocks(rule.doc, "yaml")
    for text, found in ((wrong, 1), (right, 0)):
        source_of = load_text(text)
        subject = Subject(Config.load(dict(source_of.data)), source_of, Project())
        assert len(list(rule.check(subject))) == found


def test_how_to_add_a_term(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module on the page is whole, and its class a term: it computes what its formula says."""
    text = (DOCS / "add-a-term.md").read_text(encoding="utf-8")
    assert text.split("## More than that")[0].count("\n") < 75
    (source,) = blocks(text, "python")
    assert len(source.splitlines()) < 40
    (tmp_path / "my_package.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    term = importlib.import_module("my_package").PolyLoss
    terms = {"poly_loss": term.model_validate({})}
    config = Config.model_validate({"version": 1, "terms": terms, "compile": {"enabled": False}})
    logits = torch.randn(1, 4, 7, dtype=torch.float64)
    out = Loss(config)(logits, torch.tensor([[1, 2, 3, 4]]), return_detailed=True)
    p = logits.softmax(-1)[0, torch.arange(4), torch.tensor([1, 2, 3, 4])]
    torch.testing.assert_close(out["raw/poly_loss"], (1 - p).mean())
