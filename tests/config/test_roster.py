"""The roster holds every term of the folder, and finds those of other packages."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ava.terms
from ava.config import ROSTER, Config, find_term, roster, validate
from ava.load import load_text
from ava.plan import Plan
from ava.terms.base import RowTerm

NOT_TERMS = {"__init__", "advice", "base", "fields", "items", "rows", "main_loss"}
ORDER = [
    "focal_loss", "z_loss", "token_diversity_loss", "immediate_repetition_penalty", "ngram_penalty", "eos_penalty",
    "mtp_loss", "contrastive_loss", "moe_balance_loss", "router_z_loss", "expert_diversity_loss", "distillation_loss",
]  # fmt: skip

MODULE = '''
from typing import ClassVar
from pydantic import Field
from ava.terms.base import EOS, TARGET, Needs, RowTerm, Weight

class MyTerm(RowTerm):
    """A term of another package."""
    name: ClassVar[str] = "my_term"
    formula: ClassVar[str] = "0"
    recommended: ClassVar[dict[str, tuple[float, float]]] = {"weight": (0, 1)}
    weight: Weight = Field(default=1.0, description="Factor.")
    size: int = Field(default=2, ge=1, description="Size.")

    def needs(self) -> Needs:
        return Needs(picks=(EOS, TARGET))

    def value(self, rows):
        return rows.nll

    def untrained(self, vocab_size: int) -> float:
        return 0.0

class Half(RowTerm):
    name: ClassVar[str] = "half"

NotATerm = 3
'''

Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that declares entry points."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "some_terms.py").write_text(MODULE)

    def write(entries: str) -> None:
        info = tmp_path / "some_terms-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-terms\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ava.terms]\n{entries}\n")
        roster.external_names.cache_clear()
        roster.find_term.cache_clear()

    yield write
    roster.external_names.cache_clear()
    roster.find_term.cache_clear()


def test_the_roster_is_the_folder_in_the_order_of_the_page() -> None:
    folder = {path.stem for path in Path(ava.terms.__file__ or "").parent.glob("*.py")}
    assert folder - NOT_TERMS == set(ROSTER)
    assert list(ROSTER) == ORDER
    for name, cls in ROSTER.items():
        assert cls.name == name
        assert cls.__module__ == f"ava.terms.{name}"
        assert cls().weight_at(0) > 0  # type: ignore[call-arg]


def test_a_term_of_another_package(install: Install) -> None:
    install("my_term = some_terms:MyTerm")
    config = Config.load({"version": 1, "terms": {"my_term": {"size": 3}, "z_loss": {}}})
    assert [term.name for term in config.enabled] == ["z_loss", "my_term"]
    assert issubclass(type(config.enabled[1]), RowTerm)
    again, findings = validate(load_text(config.to_yaml()))
    assert (again, findings) == (config, ())
    assert hash(again) == hash(config)
    assert pickle.loads(pickle.dumps(config)) == config
    assert "my_term" in str(Plan(config))
    assert config != Config.load({"version": 1, "terms": {"my_term": {"size": 4}, "z_loss": {}}})


def test_mistakes_in_a_term_of_another_package(install: Install) -> None:
    install("my_term = some_terms:MyTerm")
    _, found = validate(load_text("version: 1\nterms:\n  my_term: {size: 0, sise: 1}\n  my_trm: {}"))
    assert [(str(item.span), item.code) for item in found] == [
        ("<text>:3:19", "AVA105"),
        ("<text>:3:22", "AVA101"),
        ("<text>:4:3", "AVA101"),
    ]
    assert "did you mean `my_term`?" in found[2].message


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("my_term = some_terms:Missing", "cannot be imported"),
        ("my_term = no_such_module:MyTerm", "cannot be imported: ModuleNotFoundError"),
        ("my_term = some_terms:NotATerm", "is 3, not a subclass"),
        ("my_term = some_terms:Half", "lacks needs, untrained, value"),
    ],
)
def test_a_broken_entry_point_is_a_finding(install: Install, entry: str, message: str) -> None:
    install(entry)
    _, found = validate(load_text("version: 1\nterms: {my_term: {}, z_loss: {weight: -1}}"))
    assert [item.code for item in found] == ["AVA109", "AVA105"]
    assert message in found[0].message


def test_a_term_under_another_name(install: Install) -> None:
    install("other = some_terms:MyTerm")
    with pytest.raises(roster.BrokenTermError, match="calls itself `my_term`"):
        find_term("other")


def test_the_built_in_terms_need_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> tuple[str, ...]:
        raise AssertionError("looked for entry points")

    monkeypatch.setattr(roster, "external_names", fail)
    assert Config.load("standard").enabled
