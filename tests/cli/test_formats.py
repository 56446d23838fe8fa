"""The formats of findings: each is what its reader takes, whatever a file holds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pydantic import BaseModel
from sarif_pydantic import Sarif

from ava.cli.formats import FindingsFormat, announce, write_findings
from ava.cli.formats.github import workflow_commands
from ava.cli.rule import every_rule
from ava.config import validate
from ava.errors import Finding, Fix, Span
from ava.load import load_text

NASTY = (
    'version: 1\r\ndescription: "é𝛼 <b>|`"\r\nterms:\r\n  "a|b`c<img src=x>@all": {}\r\n  ngram_penalty: {windw: 1}\r\n'
)
UNKNOWN_TO_SARIF_PYDANTIC = {"Invocation.toolExecutionNotifications", "Run.columnKind", "Sarif.$schema"}
"""What is in the standard, and not among its fields."""


def text_schema(*more: str) -> dict[str, Any]:
    names = ("text", *more)
    return {
        "type": "object",
        "required": ["text"],
        "additionalProperties": False,
        "properties": {key: {"type": "string", "minLength": 1} for key in names},
    }


def closed(required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required.split(),
        "additionalProperties": False,
        "properties": properties,
    }


COUNT = {"type": "integer", "minimum": 1}
LEVEL = {"enum": ["error", "warning", "note"]}
URI = {"type": "string", "pattern": r"^[A-Za-z0-9%._~!$&'()*+,;=:@/-]+$"}
REGION = closed(
    "startLine startColumn endLine endColumn", startLine=COUNT, startColumn=COUNT, endLine=COUNT, endColumn=COUNT
)
ARTIFACT = closed("uri", uri=URI, uriBaseId={"const": "%SRCROOT%"})
LOCATION = closed(
    "",
    physicalLocation=closed("artifactLocation region", artifactLocation=ARTIFACT, region=REGION),
    logicalLocations={
        "type": "array",
        "items": closed("", name={"type": "string"}, fullyQualifiedName={"type": "string"}, kind={"const": "member"}),
    },
)
FIX = closed(
    "artifactChanges",
    description=text_schema(),
    artifactChanges={
        "type": "array",
        "minItems": 1,
        "items": closed(
            "artifactLocation replacements",
            artifactLocation=ARTIFACT,
            replacements={
                "type": "array",
                "minItems": 1,
                "items": closed(
                    "deletedRegion",
                    deletedRegion=REGION,
                    insertedContent=closed("text", text={"type": "string"}),
                ),
            },
        ),
    },
)
RESULT = closed(
    "ruleId ruleIndex level message locations partialFingerprints",
    ruleId={"type": "string"},
    ruleIndex={"type": "integer", "minimum": 0},
    level=LEVEL,
    message=text_schema(),
    locations={"type": "array", "items": LOCATION},
    partialFingerprints={"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
    fixes={"type": "array", "items": FIX},
)
DESCRIPTOR = closed(
    "id name helpUri defaultConfiguration",
    id={"type": "string"},
    name={"type": "string", "pattern": "^([A-Z][a-z0-9]*)+$"},
    helpUri=URI,
    defaultConfiguration=closed("level", level=LEVEL),
    shortDescription=text_schema(),
    fullDescription=text_schema(),
    help=text_schema("markdown"),
    properties=closed("tags", tags={"type": "array", "uniqueItems": True, "items": {"type": "string"}}),
)
DRIVER = closed(
    "name semanticVersion rules",
    name={"const": "ava-loss"},
    semanticVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+"},
    informationUri=URI,
    rules={"type": "array", "uniqueItems": True, "items": DESCRIPTOR},
)
RUN = closed(
    "tool columnKind results invocations",
    tool=closed("driver", driver=DRIVER),
    invocations={
        "type": "array",
        "items": closed(
            "executionSuccessful",
            executionSuccessful={"type": "boolean"},
            toolExecutionNotifications={
                "type": "array",
                "items": closed("message", level=LEVEL, message=text_schema()),
            },
        ),
    },
    columnKind={"const": "unicodeCodePoints"},
    newlineSequences={"const": ["\r\n", "\n", "\r"]},
    originalUriBaseIds={"type": "object", "additionalProperties": closed("", description=text_schema())},
    results={"type": "array", "items": RESULT},
)
SARIF = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    **closed(
        "version runs $schema",
        **{"$schema": URI, "version": {"const": "2.1.0"}, "runs": {"type": "array", "minItems": 1, "items": RUN}},
    ),
}
"""What of SARIF 2.1.0 the project writes, with nothing beside it: narrower than the standard's own schema."""


def extras(model: BaseModel) -> Iterator[str]:
    """Yield what a model was given beside its fields, anywhere inside it."""
    for name in model.model_extra or {}:
        yield f"{type(model).__name__}.{name}"
    for name in type(model).model_fields:
        for item in value if isinstance(value := getattr(model, name), list) else [value]:
            if isinstance(item, BaseModel):
                yield from extras(item)


def check_sarif(text: str) -> dict[str, Any]:
    """Return the one run of a log that the standard's schema, our narrower one and an independent model accept."""
    log = json.loads(text)
    jsonschema.Draft7Validator(SARIF).validate(log)
    assert set(extras(Sarif.model_validate(log))) <= UNKNOWN_TO_SARIF_PYDANTIC
    official = os.environ.get("AVA_SARIF_SCHEMA")  # the path of the standard's own schema, where a machine has it
    if official:
        schema = json.loads(Path(official).read_text(encoding="utf-8"))
        jsonschema.validators.validator_for(schema)(schema).validate(log)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == [
        result["ruleId"] for result in run["results"]
    ]
    return dict(run)


def found(text: str, name: str = "x.yaml") -> tuple[tuple[Finding, ...], dict[str, str]]:
    source = load_text(text, name)
    return validate(source)[1], dict(source.texts)


def written(format: str, text: str, name: str = "x.yaml", **more: Any) -> str:
    findings, texts = found(text, name)
    return write_findings(FindingsFormat(format), findings, texts=texts, count=1, **more)


@pytest.mark.parametrize(
    ("format", "clean"),
    [
        ("text", "No errors in 1 file.\n"),
        ("json", "[]\n"),
        ("markdown", "No errors in 1 file.\n"),
        ("github", ""),
    ],
)
def test_nothing_found(run, format, clean):
    ran = run("validate", "standard", "--format", format)
    assert (ran.code, ran.out, ran.err) == (0, clean, "")


def test_every_format_is_alone_on_stdout_and_messages_on_stderr(run, wrong, tmp_path):
    for format in FindingsFormat:
        ran = run("validate", wrong, "no/such.yaml", "--format", format, "--quiet")
        assert ran.code == 2, format
        assert ran.err == "error: no/such.yaml: No such file or directory\n", format
        told = format in (FindingsFormat.SARIF, FindingsFormat.JUNIT)  # a reader of the file alone has to know
        assert ("no/such" in ran.out) == told, format
        target = tmp_path / f"report.{format}"
        filed = run("validate", wrong, "no/such.yaml", "--format", format, "--quiet", "--output", target)
        assert (filed.code, filed.out, target.read_text(encoding="utf-8")) == (2, "", ran.out), format


def test_what_cannot_be_read_is_an_error_in_junit(run):
    ran = run("validate", "standard", "no/such.yaml", "--format", "junit")
    root = ElementTree.fromstring(ran.out)
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("2", "0", "1")
    assert [case.get("message") for case in root.iter("error")] == ["no/such.yaml: No such file or directory"]


def test_nothing_is_counted_where_nothing_could_be_read(run):
    for command in ("validate", "lint"):
        ran = run(command, "no/such.yaml")
        assert (ran.code, ran.out) == (2, "")


def test_text_looks_right_at_80_and_at_200_columns(run, tmp_path, monkeypatch, golden):
    path = tmp_path / "x.yaml"
    path.write_text('version: 1\nterms:\n  "日本": {}\n  z_loss: {weight: ' + "1" * 150 + "}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    texts = []
    for columns in ("80", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        texts.append(run("validate", "x.yaml").out)
    assert texts[0] == texts[1]  # positions stay on one line, so that editors find them
    golden("formats_text", texts[0])


def test_json_fix_says_what_to_put_where():
    findings, _ = found("version: 1\nterms:\n  z_los: {}\n")
    (item,) = json.loads(write_findings(FindingsFormat.JSON, findings, texts={}, count=1))
    place = {"file": "x.yaml", "line": 3, "column": 3, "end_line": 3, "end_column": 8}
    assert item["fix"] == {"title": "Replace `z_los` by `z_loss`", "edits": [{**place, "replacement": "z_loss"}]}
    assert {key: item[key] for key in place} == place


def test_sarif_of_many_findings(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "a b#%é"
    folder.mkdir()
    (folder / "x.yaml").write_bytes(NASTY.encode())
    ran = run("validate", folder.name, "--set", "terms.z_loss.weight=-1", "--format", "sarif")
    assert ran.code == 1
    made = check_sarif(ran.out)
    assert made["invocations"] == [{"executionSuccessful": True}]
    assert [rule["id"] for rule in made["tool"]["driver"]["rules"]] == ["AVA101", "AVA105"]
    assert all(rule["help"]["markdown"].startswith("## What it does") for rule in made["tool"]["driver"]["rules"])
    first, second, override = made["results"]
    place = first["locations"][0]["physicalLocation"]
    assert unquote(place["artifactLocation"]["uri"]) == "a b#%é/x.yaml"
    assert place["artifactLocation"]["uriBaseId"] == "%SRCROOT%"
    assert place["region"] == {"startLine": 4, "startColumn": 3, "endLine": 4, "endColumn": 25}
    (change,) = second["fixes"][0]["artifactChanges"]
    assert change["replacements"][0]["insertedContent"] == {"text": "window"}
    assert "physicalLocation" not in override["locations"][0]  # what was set on the command line is in no file
    assert override["message"]["text"].startswith("--set:1:21: ")


def test_sarif_says_what_could_not_be_read(run):
    ran = run("validate", "no/such.yaml", "standard", "--format", "sarif")
    (invocation,) = check_sarif(ran.out)["invocations"]
    assert not invocation["executionSuccessful"]
    assert "no/such.yaml" in invocation["toolExecutionNotifications"][0]["message"]["text"]


def test_sarif_of_a_file_elsewhere_names_it_whole(tmp_path):
    (result,) = check_sarif(written("sarif", "version: 2\n", str(tmp_path / "x y.yaml")))["results"]
    location = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location == {"uri": (tmp_path / "x y.yaml").as_uri()}


def test_every_rule_is_a_valid_sarif_rule():
    span = Span("x.yaml", 1, 1, 1, 1)
    findings = [rule.finding("m", span) for rule in every_rule()]
    made = check_sarif(write_findings(FindingsFormat.SARIF, findings, texts={}, count=1))
    described = {item["id"]: item for item in made["tool"]["driver"]["rules"]}
    for rule in every_rule():
        assert described[rule.code]["helpUri"] == rule.finding("m", span).url
        assert described[rule.code]["fullDescription"]["text"]


def test_fingerprints_survive_edits_above_and_tell_equal_findings_apart():
    def prints(text: str) -> list[str]:
        results = check_sarif(written("sarif", text))["results"]
        return [result["partialFingerprints"]["avaLossFinding/v1"] for result in results]

    before = "version: 1\nterms:\n  z_los: {}\n  focal: {}\n"
    assert len(set(prints(before))) == 2
    assert prints(before) == prints(before.replace("terms:", "# a comment\n\nterms:"))
    assert set(prints(before)) & set(prints(before.replace("z_los:", "z_lo:"))) == {prints(before)[1]}
    twice = "version: 1\nterms: {z_loss: {weight: [x, x]}}\n"
    assert len(set(prints(twice))) == len(prints(twice))
    span = Span("x.yaml", 1, 1, 1, 2)
    same = [Finding("AVA101", "unknown-key", "error", "m", span)] * 2
    results = check_sarif(write_findings(FindingsFormat.SARIF, same, texts={}, count=1))["results"]
    assert results[0]["partialFingerprints"] != results[1]["partialFingerprints"]


def test_junit_has_a_suite_for_every_file(run, wrong, tmp_path):
    (tmp_path / "ok.yaml").write_text("version: 1\n")
    root = ElementTree.fromstring(run("validate", tmp_path, "--format", "junit").out.encode())
    assert (root.tag, root.get("tests"), root.get("failures")) == ("testsuites", "3", "2")
    suites = {suite.get("name"): suite for suite in root}
    assert set(suites) == {str(wrong), str(tmp_path / "ok.yaml")}
    assert [len(suites[str(wrong)].findall("testcase/failure")), suites[str(wrong)].get("tests")] == [2, "2"]
    assert suites[str(tmp_path / "ok.yaml")].findall("testcase/failure") == []
    failure = suites[str(wrong)].find("testcase/failure")
    assert failure is not None
    assert "^^^^^" in (failure.text or "")


def test_junit_fails_from_the_severity_that_was_asked_for():
    span = Span("x.yaml", 1, 1, 1, 2)
    findings = [Finding("AVA301", "null-term", severity, "m", span) for severity in ("error", "warning", "info")]
    for fail_on, failures in (("error", 1), ("warning", 2), ("info", 3)):
        text = write_findings(FindingsFormat.JUNIT, findings, texts={}, count=1, fail_on=fail_on)
        root = ElementTree.fromstring(text.encode())
        assert root.get("failures") == str(failures)
        assert len(root.findall(".//system-out")) == 3 - failures


def test_junit_is_xml_whatever_the_names_hold():
    name = 'a\0b\x1b[31m<&">\ud800\ufffe.yaml'
    findings = [Finding("AVA101", "unknown-key", "error", f"`{name}` ]]>", Span(name, 1, 1, 1, 2), note=name)]
    text = write_findings(FindingsFormat.JUNIT, findings, texts={name: name}, count=1)
    (suite,) = ElementTree.fromstring(text.encode())
    assert suite.get("name") == 'a\ufffdb\ufffd[31m<&">\ufffd\ufffd.yaml'


def cells(markdown: str) -> list[list[str]]:
    """Return the rows of the tables in a text, as GitHub's rules read them."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        if token.type == "inline" and rows and token.level > 3:
            children = [child for child in token.children or () if child.type in ("text", "code_inline", "html_inline")]
            rows[-1].append("".join(child.content for child in children if child.type != "html_inline"))
            assert {child.content for child in children if child.type == "html_inline"} <= {"<!-- -->"}
    return rows


def test_markdown_is_a_table_of_all_and_frames_of_the_worst():
    findings, texts = found(NASTY)
    text = write_findings(FindingsFormat.MARKDOWN, findings, texts=texts, count=1)
    head, *rows = cells(text)
    assert head == ["", "rule", "where", "what"]
    assert [row[1:3] for row in rows] == [["AVA101 unknown-key", "x.yaml:4:3"], ["AVA101 unknown-key", "x.yaml:5:19"]]
    assert rows[0][3].startswith("`a|b`c<img src=x>@all` is not a term")
    assert text.count("<details>") == text.count("</details>") == 2
    assert "<img" not in text.replace("\\<img", "").replace('"a|b`c<img src=x>@all": {}', "")


@settings(max_examples=60)
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), st.text(min_size=1, max_size=8))
def test_no_text_breaks_a_format(message: str, name: str) -> None:
    name = name.encode("utf-8", "replace").decode()
    span = Span(f"{name}.yaml", 1, 1, 1, 2)
    fix = Fix(message, span, message)
    finding = Finding("AVA101", "unknown-key", "error", message, span, (name, 0), fix, message)
    texts = {span.file: message}
    made = {
        format: write_findings(format, [finding], texts=texts, count=1)
        for format in FindingsFormat
        if "\0" not in name or format is not FindingsFormat.SARIF  # no file's name has a NUL
    }
    assert json.loads(made[FindingsFormat.JSON])[0]["message"] == message
    ElementTree.fromstring(made[FindingsFormat.JUNIT].encode())
    assert len(made[FindingsFormat.GITHUB].split("\n")) == 2
    assert [len(row) for row in cells(made[FindingsFormat.MARKDOWN])] == [4, 4]
    if FindingsFormat.SARIF in made:
        check_sarif(made[FindingsFormat.SARIF])


def test_annotations_name_files_from_the_checkouts_root(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    inside, absolute, outside = (Span(file, 1, 1, 1, 2) for file in ("x.yaml", str(tmp_path / "y.yaml"), "/etc/z.yaml"))
    findings = [Finding("AVA101", "unknown-key", "error", "m", span) for span in (inside, absolute, outside)]
    files = [line.split("file=")[1].split(",")[0] for line in workflow_commands(findings).splitlines()]
    assert files == ["sub/x.yaml", "y.yaml", "/etc/z.yaml"]


def test_annotations_of_several_lines_have_no_columns():
    finding = Finding("AVA101", "unknown-key", "warning", "50%\nof: it, all", Span("a,b:c.yaml", 1, 3, 2, 4))
    line = "::warning file=a%2Cb%3Ac.yaml,line=1,endLine=2,title=AVA101 unknown-key::50%25%0Aof: it, all\n"
    assert workflow_commands([finding]) == line


def test_the_worst_ten_are_announced_and_all_are_in_the_summary(tmp_path, monkeypatch, capsys):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    severities = ["info"] * 4 + ["warning"] * 5 + ["error"] * 4
    findings = [
        Finding("AVA101", "unknown-key", severity, f"m{index}", Span("x.yaml", index + 1, 1, index + 1, 2))
        for index, severity in enumerate(severities)
    ]
    announce(findings, {})
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert shown == ["::error"] * 4 + ["::warning"] * 5 + ["::notice"]
    text = summary.read_text()
    assert text.startswith("before\n### ava-loss\n")
    assert len(cells(text)) == 1 + len(findings)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "folder"))
    announce(findings, {})
    assert "cannot write the step summary" in capsys.readouterr().err


def test_outside_github_nothing_is_announced(monkeypatch, capsys):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    announce([Finding("AVA101", "unknown-key", "error", "m", Span("x.yaml", 1, 1, 1, 2))], {})
    assert capsys.readouterr().out == ""
