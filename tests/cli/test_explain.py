"""``explain``: presets, terms and fields, in every format."""

from __future__ import annotations

import html
from html.parser import HTMLParser

import pytest

from ava import Config, Plan, __version__
from ava.config import ROSTER
from ava.load import list_presets
from ava.plan.explain import ASSUMED_VOCABULARY

PRESETS = [preset.name for preset in list_presets() if preset.origin == "shipped"]


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("name", PRESETS)
def test_the_page_of_each_preset(run, name, columns, golden, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    ran = run("explain", name)
    assert (ran.code, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= columns
    golden(f"explain_{name}_{columns}", ran.out)


@pytest.mark.parametrize("name", ["main_loss", *ROSTER])
def test_the_page_of_each_term(run, name):
    ran = run("explain", name)
    assert ran.code == 0
    assert ran.out.startswith(name)
    told = run("explain", name, "--format", "json").json
    assert told["name"] == name
    assert {"summary", "formula", "sources", "needs", "cost", "fields", "untrained"} <= set(told)
    assert f"## {name}" in run("explain", name, "--format", "markdown").out


def test_json_says_where_each_value_came_from(run, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("version: 1\nextends: standard\nterms: {z_loss: {weight: 1e-2}}\n")
    told = run("explain", path, "--format", "json", "--set", "terms.eos_penalty.weight=0.1").json
    values = {value["path"]: value for value in told["values"]}
    assert values["terms.z_loss.weight"]["where"] == f"{path}:3"
    assert values["terms.z_loss.weight"]["verdict"] == "above"
    assert values["primary.type"]["where"] == "standard:9"
    assert values["terms.eos_penalty.weight"]["origin"] == "set"
    assert values["terms.ngram_penalty.window"]["origin"] == "default"
    assert values["terms.ngram_penalty.window"]["effect"] == "static"
    assert values["primary.temperature.rate"]["effect"] == "runtime"
    assert values["model.num_experts"]["effect"] == "none"
    assert sum(term["share"] for term in told["terms"].values()) == pytest.approx(1)


def test_a_value_that_another_field_implies(run):
    told = run("explain", "mtp", "mtp_loss.weighting", "--format", "json").json
    assert (told["value"], told["origin"]) == ("adaptive", "implied")


def test_a_schedule_is_drawn(run, golden):
    schedule = "terms.z_loss.weight={from: 0, to: 1e-3, steps: 100, delay: 10, shape: cosine}"
    ran = run("explain", "standard", "--set", schedule)
    assert "0 % → " in ran.out
    golden("explain_schedule", "\n".join(ran.out.splitlines()[:20]) + "\n")
    field = run("explain", "standard", "z_loss.weight", "--set", schedule).out
    assert "over the steps" in field


@pytest.mark.parametrize(
    "subject", ["window", "ngram_penalty.window", "terms.ngram_penalty.window", "primary.temperature", "main_loss"]
)
def test_the_page_of_a_field(run, subject):
    ran = run("explain", "standard", subject)
    assert (ran.code, ran.err) == (0, "")
    assert run("explain", "standard", subject, "--format", "json").json
    assert run("explain", "standard", subject, "--format", "markdown").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["standard", "z_loss"], "is off in standard"),
        (["standard", "z_loss.weight"], "is off in standard"),
        (["standard", "weight"], "of several sections"),
        (["standard", "ngram_penalty.windw"], "did you mean `window`?"),
        (["standard", "windw"], "did you mean `window`?"),
        (["standrd"], "did you mean `standard`?"),
        (["no/such.yaml"], "No such file"),
    ],
)
def test_what_is_not_there_is_2(run, arguments, said):
    ran = run("explain", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_a_broken_file_is_1_with_its_frame(run, wrong):
    ran = run("explain", wrong, "--format", "json")
    assert (ran.code, ran.out) == (1, "")
    assert "^^^^^" in ran.err


@pytest.mark.parametrize("name", ["standard", "moe"])
def test_markdown_of_a_preset(run, golden, name):
    golden(f"explain_{name}_markdown", run("explain", name, "--format", "markdown").out)


@pytest.mark.parametrize("name", PRESETS)
def test_json_of_a_preset(run, golden, name):
    text = run("explain", name, "--format", "json").out
    version = f'"ava_loss": "{__version__}"'
    assert version in text
    golden(f"explain_{name}_json", text.replace(version, '"ava_loss": "X"'))


class Page(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br", "wbr", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("name", PRESETS)
def test_html_of_a_preset(run, name):
    schedule = "terms.z_loss={weight: {from: 0, to: 1e-3, steps: 100}}"
    text = run("explain", name, "--format", "html", "--set", schedule, "--set", "description=<b> & co").out
    page = Page(text)
    assert page.open == []
    assert ("html", {"lang": "en"}) in page.tags
    for _, attributes in page.tags:
        for key in ("src", "href", "xlink:href"):
            value = attributes.get(key) or ""
            assert value.startswith(("#", "data:,")) or (key == "href" and "https://arxiv.org/" in value) or not value
    assert "<b> &" not in text
    assert "prefers-color-scheme: dark" in text
    told = run("explain", name, "--format", "json").json
    for term in told["terms"].values():
        assert html.escape(term["formula"]) in text.replace("<wbr>", "")
    for value in told["values"]:
        assert value["path"].removeprefix("terms.") in text.replace("<wbr>", "")
    assert "▁" in text


def test_html_of_a_term_and_a_field(run):
    for arguments in (["ngram_penalty"], ["standard", "ngram_penalty"], ["standard", "window"], ["main_loss"]):
        page = Page(run("explain", *arguments, "--format", "html").out)
        assert page.open == []


def test_the_memory_of_each_engine(run):
    def engines(*arguments):
        told = run("explain", "standard", "--format", "json", *arguments).json
        return {engine["engine"]: engine["bytes"] for engine in told["engines"]}

    small, large = (engines("--batch", "1", "--seq-len", length, "--dtype", "float32") for length in (512, 2048))
    assert list(small) == ["logits", "linear", "vocab_parallel"]
    assert all(large[name] > small[name] for name in small)
    plan = Plan(Config.load("standard"))
    assert small["logits"] == plan.memory(512, ASSUMED_VOCABULARY, 4)
    assert small["vocab_parallel"] == plan.memory(512, -(-ASSUMED_VOCABULARY // 2), 4, "vocab_parallel")
    assert small["linear"] == plan.memory(512, ASSUMED_VOCABULARY, 4, "linear", hidden_size=768)
    known = engines("--set", "model.hidden_size=64", "--batch", "1", "--seq-len", "512", "--dtype", "float32")
    assert known["linear"] == plan.memory(512, ASSUMED_VOCABULARY, 4, "linear", hidden_size=64)


@pytest.mark.parametrize(
    ("weight", "shown"),
    [
        (0.05, "●─────────────┤ inside, at 0 %"),
        (0.125, "├──────●──────┤ inside, at 50 %"),
        (0.5, "├─────────────┤ ● above what is usual"),
        (0.01, "● ├─────────────┤ below what is usual"),
    ],
)
def test_where_a_value_lies_in_its_range(run, weight, shown):
    assert (
        shown in run("explain", "standard", "ngram_penalty.weight", "--set", f"terms.ngram_penalty.weight={weight}").out
    )


def test_a_field_of_a_term_is_explained_without_a_preset(run):
    told = run("explain", "ngram_penalty.window", "--format", "json").json
    assert (told["path"], told["value"], told["origin"]) == ("terms.ngram_penalty.window", 50, "default")
    assert run("explain", "terms.ngram_penalty.window", "--format", "json").json == told
    assert run("explain", "main_loss.label_smoothing", "--format", "json").json["path"] == "primary.label_smoothing"
    assert "Positions to look back." in run("explain", "ngram_penalty.window").out
    assert (
        "| `terms.ngram_penalty.window` | 50 | default |"
        in run("explain", "ngram_penalty.window", "--format", "markdown").out
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ngram_penalti"], "did you mean the term `ngram_penalty`?"),
        (["ngram_penalty.windw"], "did you mean `window`?"),
        (["standrd"], "did you mean `standard`?"),
        (["standard", "temperature"], "did you mean `primary.temperature`?"),
    ],
)
def test_a_word_that_is_nothing_is_2_and_says_what_is_near(run, words, said):
    ran = run("explain", *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_names_of_fields_stay_whole_beside_a_long_value(run, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "version: 1\nterms:\n  z_loss: {weight: {from: 0, to: 1e-3, steps: 2000, delay: 500, shape: cosine}}\n"
    )
    assert "padded_vocab_size" in run("explain", path).out
