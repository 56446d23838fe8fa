"""``migrate``: old files become new ones that mean the same and say what changed."""

# ruff: noqa: E501

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ava import Config
from ava.config import validate
from ava.config.migrations import MIGRATIONS, apply_edits, upgrade
from ava.config.model import VERSION
from ava.errors import AvaError, Fix, Span
from ava.load import load_text
from ava.load.read import Document, read_document
from ava.losses import translate
from ava.losses.keywords import DEFAULTS, PLACES
from ava.losses.migrate import migrate

STANDARD = """\
vocab_size: 50257
primary_loss_type: deepseek
adaptive_temperature: true
label_smoothing: 0.1
use_ngram_penalty: true
ngram_window_size: 64
use_immediate_repetition_penalty: true
eos_token_id: 50256
min_sequence_length: 20
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def lines(text: str) -> dict[str, str]:
    """Return each line's comment by its key."""
    parts = (line.partition("  # ") for line in text.splitlines() if not line.startswith("#"))
    return {head.strip().partition(":")[0]: comment for head, _, comment in parts}


@pytest.mark.parametrize("form", ["flat YAML", "section YAML", "flat JSON", "section JSON", "JSON with tabs"])
def test_keywords_in_any_form(run, tmp_path, golden, form):
    keywords = load_text(STANDARD).data
    flat = dict(keywords)
    data = {"model": {"layers": 2}, "losses": flat, "training": {"lr": 1e-4}} if "section" in form else flat
    text = STANDARD if form == "flat YAML" else json.dumps(data, indent="\t" if "tabs" in form else 2)
    if form == "section YAML":
        text = "training: {lr: 1e-4}\nlosses:\n" + "".join(f"  {line}\n" for line in STANDARD.splitlines())
    ran = run("migrate", write(tmp_path / "old", text))
    assert (ran.code, ran.err) == (0, "")
    config = Config.load(load_text(ran.out).data)
    assert config == Config.load(translate(keywords).document)
    assert ran.out.startswith("# yaml-language-server: $schema=")
    assert lines(ran.out)["ngram_penalty"] == "was use_ngram_penalty, ngram_window_size"
    assert lines(ran.out)["type"] == "was primary_loss_type"
    assert validate(load_text(ran.out))[1] == ()
    if form == "flat YAML":
        golden("migrate_flat", ran.out.replace(str(tmp_path), "."))
    assert ("`losses` section" in ran.out) == ("section" in form)
    assert ("# Not looked at: " in ran.out) == ("section" in form)


def test_what_is_ignored_is_said_and_kept_in_a_comment(run, tmp_path):
    old = {
        "use_ngram_penalty": False, "ngram_size": 3, "ngram_window_size": 30, "focal_gamma": 0.0, "min_sequence_length": 9,
        "use_mtp": True, "hidden_size": 8, "mtp_type": "deepseek", "adaptive_threshold": 0.8, "temperature_bounds": [0.7, 1.5],
        "contrastive_weight": 0.0, "use_auxiliary_loss": True, "load_balancing_weight": 0.0, "shared_projection": True,
    }  # fmt: skip
    out = run("migrate", write(tmp_path / "old.json", json.dumps(old))).out
    head = " ".join(line.removeprefix("# ").strip() for line in out.splitlines() if line.startswith("# "))
    for sentence in (
        "Left out: `ngram_size: 3`, `ngram_window_size: 30`; `use_ngram_penalty: false` switches the term off.",
        "Left out: `focal_gamma: 0.0`; without `use_focal_loss: true` nothing reads that.",
        "Left out: `min_sequence_length: 9`; there is no `eos_token_id`, which the penalty needs.",
        "Left out: `contrastive_weight: 0.0`, `load_balancing_weight: 0.0`; a weight of 0 leaves that out.",
        "`adaptive_threshold` has no effect with `mtp_type: deepseek`.",
        "`temperature_bounds` has no effect without `adaptive_temperature: true`.",
    ):
        assert sentence in head
    comments = lines(out)
    assert comments["weighting"] == "was mtp_type: deepseek"
    assert comments["heads"] == "was shared_projection: true"
    assert comments["router_z_loss"] == "was use_auxiliary_loss"
    assert comments["if_missing"] == "a call without its tensors skips it, as before"


def test_contradictions_that_have_a_meaning_are_said(run, tmp_path):
    out = run("migrate", write(tmp_path / "a", "primary_loss_type: adaptive_mtp\nuse_mtp: false\n")).out
    assert "Left out: `use_mtp: false`; `primary_loss_type: adaptive_mtp` predicts future tokens" in out
    out = run("migrate", write(tmp_path / "b", "eos_token_id: 1\neos_penalty_weight: 0\nmin_sequence_length: 9\n")).out
    assert "`eos_penalty_weight: 0` switches the penalty off" in " ".join(out.replace("\n# ", " ").split())
    out = run("migrate", write(tmp_path / "c", "primary_loss_type: standard\ntemperature_bounds: [0.7, 1.5]\n")).out
    assert "`primary_loss_type: standard` has no temperature" in out


@pytest.mark.parametrize(
    ("text", "code", "position", "words"),
    [
        ("use_ngram_penlty: true\n", "AVA101", (1, 1), "did you mean `use_ngram_penalty`?"),
        ("losses:\n  ngram_windw_size: 3\n", "AVA101", (2, 3), "did you mean `ngram_window_size`?"),
        ("{'eos_token_id': true}\n", "AVA103", (1, 18), "expected an integer"),
        ("use_mtp: 1\n", "AVA103", (1, 10), "expected `true` or `false`"),
        ("mtp_type: depseek\n", "AVA104", (1, 11), "did you mean `deepseek`?"),
        ("vocab_size: 9\neos_token_id: 9\n", "AVA113", (2, 15), "the last token is 8"),
        ("primary_loss_type: standard\ninitial_temperature: 2\n", "AVA108", (2, 22), "has no temperature"),
        ("use_mtp: true\nuse_mtp: true\n", "AVA002", (2, 1), "twice"),
        ("- use_mtp\n", "AVA003", (1, 1), "expected a mapping"),
        ("version: 1\nterms: {z_los: {}}\n", "AVA101", (2, 9), "did you mean `z_loss`?"),
        ("terms: {}\nuse_mtp: true\n", "AVA601", (2, 1), "its place is now `terms.mtp_loss`"),
        ("version: 99\n", "AVA107", (1, 10), "version 99"),
        ("", "AVA102", (1, 1), "`version` is missing"),
    ],
)  # fmt: skip
def test_mistakes_are_findings_at_their_place_in_the_old_file(run, tmp_path, text, code, position, words):
    path = write(tmp_path / "old.yaml", text)
    ran = run("migrate", path)
    assert (ran.code, ran.out) == (1, "")
    assert words in ran.err
    findings = run("migrate", path, "--format", "json")
    assert findings.code == 1
    named = {item["code"]: (item["line"], item["column"]) for item in findings.json}
    if code == "AVA003":  # whatever its code
        assert list(named.values()) == [position]
    else:
        assert named[code] == position


def test_every_mistake_is_said_in_one_run(run, tmp_path):
    path = write(tmp_path / "old.yaml", "use_mpt: true\nngram_size: x\nlabel_smoothing: 2\nfocal_gama: 1\n")
    assert [item["line"] for item in run("migrate", path, "--format", "json").json] == [1, 2, 3, 4]


def test_a_current_file_is_printed_as_it_is(run, tmp_path):
    text = "# mine\nversion:   1  # ok\r\nterms: {z_loss: {}}"
    (tmp_path / "new.yaml").write_bytes(text.encode())
    ran = run("migrate", tmp_path / "new.yaml")
    assert (ran.code, ran.out) == (0, text + "\n")
    assert "is of version 1 already" in ran.err
    assert run("migrate", tmp_path / "new.yaml", "--quiet").err == ""


def test_standard_input(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"use_mtp: true\nhidden_size: 8\n")))
    ran = run("migrate", "-")
    assert ran.code == 0
    assert "From the flat keywords in <stdin>" in ran.out


def test_output_never_replaces_a_file_unasked(run, tmp_path):
    old, new = write(tmp_path / "old.yaml", STANDARD), tmp_path / "new.yaml"
    printed = run("migrate", old).out
    assert run("migrate", old, "--output", new).out == ""
    assert new.read_text() == printed
    for target in (new, old):
        before = target.read_text()
        ran = run("migrate", old, "--output", target)
        assert (ran.code, target.read_text()) == (2, before)
        assert "there is a file of that name already" in ran.err
    assert run("migrate", old, "--output", old, "--force").code == 0
    assert old.read_text() == printed
    assert run("migrate", write(tmp_path / "bad", "use_mpt: 1\n"), "--output", new, "--force").code == 1
    assert new.read_text() == printed


def test_what_cannot_be_opened_is_2(run, tmp_path):
    for name in ("no/such/file", tmp_path, "a\0b", ""):
        ran = run("migrate", name)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith("error: ")


def test_json_is_the_configuration(run, tmp_path):
    ran = run("migrate", write(tmp_path / "old", STANDARD), "--format", "json")
    assert Config.load(ran.json) == Config.load(translate(load_text(STANDARD).data).document)
    parent = write(tmp_path / "new.yaml", "version: 1\nextends: standard\n")
    assert run("migrate", parent, "--format", "json").json == {"version": 1, "extends": "standard"}


def test_description_is_kept_and_comments_are_announced_as_lost(run, tmp_path):
    ran = run(
        "migrate", write(tmp_path / "old", '# why\ndescription: "a: b # c"\nversion: 1\nuse_ngram_penalty: true\n')
    )
    assert load_text(ran.out).data["description"] == "a: b # c"
    assert ran.err == "note: the comments of the old file are not in the new one\n"


def test_names_cannot_leave_their_comment(tmp_path):
    made = migrate('losses: {use_ngram_penalty: true}\n"x\\n\\ny: 1": 1\n', "a\nversion: 2\x1b.yaml").text
    assert made is not None
    assert load_text(made).data == {"version": 1, "primary": {"type": "deepseek"}, "terms": {"ngram_penalty": {}}}
    assert "\x1b" not in made


def test_a_losses_section_in_a_configuration_points_to_migrate(run, tmp_path):
    path = write(tmp_path / "x.yaml", "version: 1\nterms: {z_loss: {}}\nlosses: {use_mtp: true}\n")
    (item,) = run("validate", path, "--format", "json").json
    assert (item["code"], item["line"]) == ("AVA601", 3)
    assert "`ava-loss migrate`" in item["message"]


# -- versions ---------------------------------------------------------------------------------------------------


def rename(old: str, new: str) -> Any:
    """Return a step that renames a key of the top level."""

    def step(document: Document) -> Iterator[Fix]:
        assert document.root is not None
        entry = document.root.value.get(old)  # type: ignore[union-attr]
        if entry is not None:
            yield Fix(f"`{old}` is now `{new}`", entry.key_span, new)

    return step


STEPS = {VERSION - 2: rename("losses_of", "parts"), VERSION - 1: rename("parts", "terms")}


def test_old_versions_go_through_every_step_and_keep_their_comments():
    old = f"# mine\nversion: {VERSION - 2}   # old\n\nlosses_of:   # the terms\n  z_loss: {{weight: 0.1}}\n"
    made = migrate(old, "x.yaml", steps=STEPS)
    assert made.text == (
        f"# From version {VERSION - 2}, by `ava-loss migrate`.\n# - `losses_of` is now `parts`\n# - `parts` is now `terms`\n"
        f"# mine\nversion: {VERSION}   # old\n\nterms:   # the terms\n  z_loss: {{weight: 0.1}}\n"
    )
    assert made.changed
    assert made.notes == ("`losses_of` is now `parts`", "`parts` is now `terms`")
    again = migrate(made.text, "x.yaml", steps=STEPS)
    assert (again.text, again.changed) == (made.text, False)


def test_the_modeline_stays_first():
    head = "# yaml-language-server: $schema=x"
    made = migrate(f"{head}\nversion: {VERSION - 1}\nparts: {{z_loss: {{}}}}\n", "x.yaml", steps=STEPS).text
    assert made is not None
    assert made.splitlines()[:2] == [head, f"# From version {VERSION - 1}, by `ava-loss migrate`."]


def test_a_version_that_no_step_leads_on_from_is_a_finding():
    made = migrate(f"version: {VERSION - 3}\n", "x.yaml", steps=STEPS)
    assert made.text is None
    assert [finding.code for finding in made.findings] == ["AVA107"]
    assert upgrade(read_document("version: 1\n", "x"), "x", VERSION, MIGRATIONS).text == "version: 1\n"


@given(st.text("ab\r\n𝛼", max_size=12), st.data())
def test_edits_replace_exactly_their_spans(text, data):
    starts = [0, *(index + 1 for index, char in enumerate(text) if char == "\n" or (char == "\r" and text[index + 1 : index + 2] != "\n"))]  # fmt: skip
    first, second = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=2)))

    def at(offset: int) -> tuple[int, int]:
        line = max(index for index, start in enumerate(starts) if start <= offset)
        return line + 1, offset - starts[line] + 1

    fix = Fix("", Span("x", *at(first), *at(second)), "NEW")
    assert apply_edits(text, [fix]) == text[:first] + "NEW" + text[second:]


# -- the same values --------------------------------------------------------------------------------------------

WEIGHTS = st.sampled_from([0.0, 0.05, 0.5, 1, {"from": 0.0, "to": 0.5, "steps": 100}])
SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "vocab_size": st.just(17),
    "hidden_size": st.just(8),
    "primary_loss_type": st.sampled_from(["standard", "deepseek", "adaptive_mtp"]),
    "mtp_type": st.sampled_from(["deepseek", "adaptive"]),
    "temperature_bounds": st.sampled_from([[0.5, 2.0], [0.7, 1.5]]),
    "adaptive_weight_range": st.sampled_from([[0.5, 1.5], [0.25, 2]]),
    "initial_temperature": st.sampled_from([1.0, 1.2]),
    "adaptive_threshold": st.sampled_from([0.7, 0.4]),
    "label_smoothing": st.sampled_from([0, 0.1]),
    "target_expert_usage": st.sampled_from([0.25, [0.25, 0.25, 0.25, 0.25]]),
    "num_experts": st.just(4),
    "num_future_tokens": st.integers(1, 2),
    "eos_token_id": st.integers(0, 16),
    "pad_token_id": st.integers(0, 16),
    "ignore_index": st.sampled_from([-100, -1]),
    "focal_gamma": st.sampled_from([0.0, 2.0, 3]),
    "focal_alpha": st.sampled_from([1.0, 0.25]),
    "contrastive_temperature": st.sampled_from([0.07, 0.1]),
}


def strategy(keyword: str) -> st.SearchStrategy[Any]:
    if keyword in SPECIAL:
        return SPECIAL[keyword]
    if isinstance(DEFAULTS[keyword], bool):
        return st.booleans()
    return WEIGHTS if keyword.endswith("weight") else st.integers(2, 40)


KEYWORDS = st.fixed_dictionaries(
    {"vocab_size": st.just(17), "hidden_size": st.just(8)},
    optional={
        keyword: st.none() | strategy(keyword) for keyword in PLACES if keyword not in ("vocab_size", "hidden_size")
    },
)
FORMS = st.sampled_from(["flat YAML", "flat JSON", "section JSON"])


def old_text(keywords: dict[str, Any], form: str) -> str:
    if form == "flat YAML":
        return "".join(f"{key}: {json.dumps(value)}\n" for key, value in keywords.items())
    return json.dumps({"losses": keywords} if "section" in form else keywords)


@settings(max_examples=300)
@given(KEYWORDS, FORMS)
def test_the_new_file_is_what_translate_says(keywords: dict[str, Any], form: str) -> None:
    made = migrate(old_text(keywords, form), "old")
    try:
        config = Config.load(translate(keywords).document)
    except AvaError:
        assert made.text is None
        assert made.findings
        return
    assert made.text is not None
    assert Config.load(load_text(made.text).data) == config
    assert not [finding for finding in validate(load_text(made.text))[1] if finding.severity == "error"]
    assert max(map(len, made.text.splitlines())) <= 160
    # every keyword is in the file, in what became of it or in a comment, unless it says nothing
    for keyword, value in keywords.items():
        said = PLACES[keyword].split("`")[0].rpartition(".")[2] == keyword or keyword in made.text
        assert said or value is None or value is False, (keyword, made.text)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=25)
@given(KEYWORDS)
def test_the_new_file_is_what_unified_loss_computes(keywords: dict[str, Any]) -> None:
    from ava.losses import UnifiedLoss  # torch, which nothing else here needs

    try:
        expected = UnifiedLoss(**keywords).config
    except AvaError:
        assume(False)
    made = migrate(old_text(keywords, "flat JSON"), "old")
    assert made.text is not None
    assert Config.load(load_text(made.text).data) == expected


def test_torch_stays_out(tmp_path):
    old = write(tmp_path / "old.yaml", STANDARD)
    code = "import sys\nfrom ava.cli import main\nassert main(['migrate', sys.argv[1]]) == 0\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, old], check=True, stdout=subprocess.DEVNULL)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("HUGE") | st.just(1e308),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from([*PLACES, "losses", "version", "terms", "description", "model"]) | st.text(max_size=12)


@settings(max_examples=300)
@given(st.dictionaries(KEYS, ANYTHING, max_size=6), st.sampled_from([None, "losses"]))
def test_whatever_a_file_holds_ends_in_a_file_or_in_findings(content: dict[str, Any], section: str | None) -> None:
    text = json.dumps({section: content} if section else content).replace('"HUGE"', "1" * 5000)
    made = migrate(text, "x")
    assert (made.text is None) == any(finding.severity == "error" for finding in made.findings)
    for finding in made.findings:
        assert finding.span.line == 1
        assert "\n" not in finding.message
    if made.text is not None:
        assert not [finding for finding in validate(load_text(made.text))[1] if finding.severity == "error"]


@given(st.binary(max_size=40) | st.text(max_size=40))
def test_whatever_bytes_come(data: bytes | str) -> None:
    made = migrate(data, "x")
    assert (made.text is None) == bool(made.findings)


def test_a_term_that_no_keyword_names_says_why_it_is_on(run, tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"vocab_size": 10, "eos_token_id": 3}')
    assert "  eos_penalty: {}  # on with `eos_token_id`, as in UnifiedLoss\n" in run("migrate", path).out


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("vocab_size: -3", "AVA105", "should be at least 1"),
        ("primary_loss_type: deepsek", "AVA104", "did you mean `deepseek`?"),
        ("use_mtp: yes", "AVA103", "expected `true` or `false`"),
        ("temperature_bounds: [2.0, 0.5]", "AVA108", ""),
        ("loss_config: {use_mtp: true}", "AVA101", "in a section called `losses`"),
    ],
)
def test_a_wrong_keyword_breaks_the_rule_that_its_field_would(run, tmp_path, text, code, said):
    path = tmp_path / "x.yaml"
    path.write_text(f"{text}\n")
    ran = run("migrate", path, "--format", "json")
    assert ran.code == 1
    (finding,) = ran.json
    assert finding["code"] == code
    assert said in finding["message"]
