"""``--fix`` and ``--diff``: which edits, that nothing else changes, and that they end."""

from __future__ import annotations

import stat
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ava.lint.comments import comments
from ava.lint.fixes import fix_text
from ava.lint.run import Job, lint_sources
from ava.load import load_text
from ava.load.read import read_document
from tests.config.documents import BAD, GOOD

EDITS = {
    "an unknown key": ("terms: {ngram_penalty: {windw: 64}}  # why", "terms: {ngram_penalty: {window: 64}}  # why"),
    "a quoted one": ('terms:\n  "z_los": {}', "terms:\n  z_loss: {}"),
    "an unknown word": ("primary: {type: deepsek}", "primary: {type: deepseek}"),
    "a fix that shows another mistake": (
        "terms: {ngram_penality: {windw: 64, wieght: 0.1}}",
        "terms: {ngram_penalty: {window: 64, weight: 0.1}}",
    ),
    "a term with nothing after it": (
        "terms:\n  z_loss:\n  focal_loss:  # soon",
        "terms:\n  z_loss: {}\n  focal_loss: {}  # soon",
    ),
    "a null that is written out": ("terms: {z_loss: null}", "terms: {z_loss: null}"),
    "a constant schedule": (
        "terms: {z_loss: {weight: {from: 1e-4, to: 0.0001, steps: 9}}}",
        "terms: {z_loss: {weight: 0.0001}}",
    ),
    "one over several lines": (
        "terms:\n  z_loss:\n    weight:\n      from: 1e-4\n      to: 1e-4  # x\n      steps: 9",
        "terms:\n  z_loss:\n    weight:\n      from: 1e-4\n      to: 1e-4  # x\n      steps: 9",
    ),
    "a legacy key where its field is": (
        "terms: {ngram_penalty: {ngram_size: 3}, mtp_loss: {mtp_type: deepseek, shared_projection: true}}",
        "terms: {ngram_penalty: {size: 3}, mtp_loss: {weighting: uniform, heads: shared}}",
    ),
    "a legacy switch": ("use_ngram_penalty: true", "terms:\n  ngram_penalty: {}"),
    "a legacy switch and its fields": (
        "use_ngram_penalty: true\nngram_size: 3\n# about z\nterms:\n  z_loss: {}",
        "# about z\nterms:\n  ngram_penalty: {size: 3}\n  z_loss: {}",
    ),
    "one for a term that is on": ("use_focal_loss: true\nterms: {focal_loss: {}}", "terms: {focal_loss: {}}"),
    "one for a term that is off": ("use_focal_loss: false\nterms: {z_loss: {}}", "terms: {z_loss: {}}"),
    "a contradiction": (
        "use_focal_loss: false\nterms: {focal_loss: {}}",
        "use_focal_loss: false\nterms: {focal_loss: {}}",
    ),
    "a field does not switch a term on": ("ngram_size: 3\nterms: {}", "ngram_size: 3\nterms: {}"),
    "a taken place": ("terms: {ngram_penalty: {ngram_size: 3, size: 4}}", None),
    "several meanings": ("use_diversity_loss: true", "use_diversity_loss: true"),
    "the primary loss": (
        "primary_loss_type: deepseek\ntemperature_bounds: [0.7, 1.5]\nadaptive_temperature: true",
        "primary:\n  temperature:\n    adaptive: true\n    bounds: [0.7, 1.5]\n  type: deepseek",
    ),
    "two that would become one": (
        "terms: {ngram_penalty: {windw: 64, windo: 32}}",
        "terms: {ngram_penalty: {window: 64, windo: 32}}",
    ),
    "two near names": ("model: {xos_token_id: 1}", "model: {xos_token_id: 1}"),
    "one much nearer than the other": ("model: {eos_token_idd: 1}", "model: {eos_token_id: 1}"),
    "a legacy switch among the terms": (
        "terms:\n    use_focal_loss: true   # why\n    z_loss: {}",
        "terms:\n    focal_loss: {}   # why\n    z_loss: {}",
    ),
    "a legacy switch among the terms of one line": (
        "terms: {use_focal_loss: true, z_loss: {}}",
        "terms: {focal_loss: {}, z_loss: {}}",
    ),
    "one moves with its comment": (
        "use_ngram_penalty: true  # why\ninitial_temperature: 1.2 # two",
        "terms:\n  ngram_penalty: {}  # why\nprimary:\n  temperature:\n    initial: 1.2 # two",
    ),
    "one with a comment beside a mapping of one line": (
        "use_ngram_penalty: true  # why\nterms: {z_loss: {}}",
        "use_ngram_penalty: true  # why\nterms: {z_loss: {}}",
    ),
    "one that is off, with a comment": (
        "use_ngram_penalty: false  # why",
        "use_ngram_penalty: false  # why",
    ),
    "nothing to do": ("terms: {z_loss: {}}", "terms: {z_loss: {}}"),
}


def fixed(text: str) -> str:
    """Return ``text`` with its safe fixes."""
    return fix_text(text, "x.yaml", lambda new: lint_sources([Job(load_text(new, "x.yaml"))])).text


@pytest.mark.parametrize("name", EDITS)
def test_an_edit(name: str) -> None:
    before, after = EDITS[name]
    head = "version: 1\n"
    assert fixed(f"{head}{before}\n") == f"{head}{before if after is None else after}\n"


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_endings_and_the_byte_order_mark_stay(lint, write, ending, mark):
    lines = ["version: 1", "use_mtp: true", "terms:", "  ngram_penalty: {windw: 64}  # é", "  z_loss:", ""]
    path = write("x.yaml", mark + ending.join(lines))
    assert lint("x.yaml", "--fix", "--ignore", "AVA").code == 0
    after = ["version: 1", "terms:", "  mtp_loss: {}", "  ngram_penalty: {window: 64}  # é", "  z_loss: {}", ""]
    ran = lint("x.yaml", "--fix")
    assert path.read_bytes() in (
        (mark + ending.join(after)).encode(),
        (mark + ending.join([*after[:4], "  z_loss:", ""])).encode(),
    )
    lint("x.yaml", "--fix")
    assert path.read_bytes() == (mark + ending.join(after)).encode()
    assert ran.code == 0


def test_what_remains_is_reported_and_decides(lint, write):
    path = write("x.yaml", "version: 1\nterms:\n  ngram_penalty: {windw: 64, weight: 0.6}\n  foo: 1\n")
    ran = lint("x.yaml", "--fix", "--format", "json")
    assert (ran.code, [item["code"] for item in ran.json]) == (1, ["AVA201", "AVA101"])
    assert ran.err == "Fixed 1 in x.yaml\n"
    assert "window: 64" in path.read_text()
    again = lint("x.yaml", "--fix", "--quiet")
    assert (again.code, again.err) == (1, "")


def test_a_link_stays_one_and_a_mode_stays(lint, write, tmp_path):
    path = write("real.yaml", "version: 1\nterms: {z_los: {}}\n")
    path.chmod(0o640)
    (tmp_path / "x.yaml").symlink_to("real.yaml")
    assert lint("x.yaml", "--fix").code == 0
    assert (tmp_path / "x.yaml").is_symlink()
    assert path.read_text() == "version: 1\nterms: {z_loss: {}}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(item.name for item in tmp_path.iterdir()) == ["real.yaml", "x.yaml"]


def test_a_write_that_fails_leaves_the_file(lint, write, monkeypatch):
    path = write("x.yaml", "version: 1\nterms: {z_los: {}}\n")

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", fails)
    ran = lint("x.yaml", "--fix")
    assert ran.code == 2
    assert "No space left" in ran.err
    assert path.read_text() == "version: 1\nterms: {z_los: {}}\n"
    assert [item.name for item in path.parent.iterdir()] == ["x.yaml"]


def test_only_named_files_are_edited(lint, write):
    base = write("base.yaml", "version: 1\nterms: {z_los: {}}\n")
    child = write("x.yaml", "version: 1\nextends: ./base.yaml\nterms: {focal_los: {}}\n")
    ran = lint("x.yaml", "--fix", "--format", "json")
    assert [(item["file"], item["code"]) for item in ran.json] == [("base.yaml", "AVA101")]
    assert "z_los:" in base.read_text()
    assert "focal_loss" in child.read_text()
    write("mine/own.yaml", "version: 1\nterms: {z_los: {}}\n")
    assert lint("own", "--preset-path", "mine", "--fix").code == 1
    assert lint("mine", "--fix").code == 0


def test_what_cannot_be_decoded_is_not_touched(lint, tmp_path):
    data = b"version: 1\nterms: {z_los: {}}  # caf\xe9\n"
    (tmp_path / "x.yaml").write_bytes(data)
    assert lint("x.yaml", "--fix").code == 1
    assert (tmp_path / "x.yaml").read_bytes() == data


def test_a_diff_is_one_that_patch_takes_and_writes_nothing(lint, write, tmp_path):
    path = write("x.yaml", "version: 1\nuse_mtp: true\nterms:\n  z_los: {}")
    before = path.read_bytes()
    ran = lint("x.yaml", "--diff")
    assert ran.code == 1
    assert ran.out.startswith("--- x.yaml\n+++ x.yaml\n")
    assert ran.err == "Would fix 2 in x.yaml\n"
    assert path.read_bytes() == before
    subprocess.run(["patch", "-p0"], input=ran.out, text=True, cwd=tmp_path, check=True, capture_output=True)
    patched = path.read_bytes()
    path.write_bytes(before)
    assert lint("x.yaml", "--fix").code == 0
    assert path.read_bytes() == patched
    assert (lint("x.yaml", "--diff").code, lint("x.yaml", "--diff").out) == (0, "")


def test_a_diff_of_standard_input(lint):
    ran = lint("-", "--diff", stdin="version: 1\nterms: {z_los: {}}\n")
    assert ran.code == 1
    assert "+terms: {z_loss: {}}" in ran.out
    ran = lint("-", "--diff", stdin="version: 1\nterms: {foo: {}}\n")
    assert (ran.code, ran.out) == (1, "")
    assert "without --diff" in ran.err


def test_a_suppressed_or_ignored_finding_is_not_fixed(lint, write):
    text = "version: 1\nterms:\n  z_loss:  # ava: ignore[null-term]\n  focal_loss:\n"
    path = write("x.yaml", text)
    assert lint("x.yaml", "--fix", "--ignore", "AVA301").code == 0
    assert path.read_text() == text
    assert lint("x.yaml", "--fix").code == 0
    assert path.read_text() == text.replace("focal_loss:", "focal_loss: {}")


def comment_texts(text: str) -> list[str]:
    """Return the comments of ``text``."""
    return [text[start:stop] for start, stop in comments(text)]


TEXTS = [*GOOD.values(), *(text for text, _ in BAD.values()), *(f"version: 1\n{text}" for text, _ in EDITS.values())]
WORDS = [
    "weight",
    "windw",
    "z_los",
    "null",
    "use_mtp: true\n",
    "ngram_size: 3\n",
    "{",
    "}",
    ":",
    " ",
    "\n",
    "'",
    "#",
    "é",
    "1",
]


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """Return a text of the corpus with a few pieces cut out, doubled, or put in."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 12)))
        new = draw(st.sampled_from(["", text[start:stop] * 2, *WORDS]))
        text = text[:start] + new + text[stop:]
    return draw(st.sampled_from([text, text.replace("\n", "\r\n")]))


@settings(max_examples=300, deadline=None)
@given(mutants())
def test_fixing_ends_once_and_never_makes_a_file_less_readable(text: str) -> None:
    once = fixed(text)
    assert fixed(once) == once
    before = [finding.code for finding in read_document(text, "x.yaml").findings]
    after = [finding.code for finding in read_document(once, "x.yaml").findings]
    assert len(after) <= len(before)
    assert comment_texts(once) == comment_texts(text)
    if "\r" not in text:
        assert "\r" not in once


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_keeps_its_meaning(name: str) -> None:
    assert load_text(fixed(GOOD[name])).data == load_text(GOOD[name]).data
