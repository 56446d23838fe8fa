"""Logs, line by line: what is kept, what is a finding, and what a resumed run replaces."""

from __future__ import annotations

import math

import pytest

from ava.errors import SourceError
from ava.report.log import read_run


def read(path):
    return read_run(str(path), path.name)


def kept(run, key):
    series = run.series[key]
    return list(zip(series.steps, series.values, strict=True))


def test_every_value_becomes_a_series(write_log):
    run = read(write_log("run.jsonl", [{"step": 1, "loss/main": 2.5, "note": "x", "flag": True}, {"step": 3, "lr": 1}]))
    assert kept(run, "loss/main") == [(1, 2.5)]
    assert kept(run, "lr") == [(3, 1.0)]
    assert list(run.series) == ["loss/main", "lr"]
    assert (run.records, run.first, run.last, run.findings) == (2, 1, 3, [])


def test_what_is_not_finite_is_kept_as_a_step(write_log):
    lines = ['{"step": 1, "a": NaN, "b": -Infinity, "c": null, "d": "inf", "e": 1e999, "f": "words"}']
    run = read(write_log("run.jsonl", lines))
    values = {key: series.values[0] for key, series in run.series.items()}
    assert math.isnan(values.pop("a"))
    assert math.isnan(values.pop("c"))
    assert values == {"b": -math.inf, "d": math.inf, "e": math.inf}


def test_records_of_one_step_are_merged_and_the_last_value_counts(write_log):
    run = read(write_log("run.jsonl", [{"step": 1, "a": 1.0}, {"step": 1, "b": 2.0}, {"step": 1, "a": 3.0}]))
    assert (kept(run, "a"), kept(run, "b"), run.resumed) == ([(1, 3.0)], [(1, 2.0)], [])


def test_a_resumed_run_replaces_what_it_had_logged_of_every_value(write_log):
    before = [{"step": step, "a": 0.0} | ({"held": 0.0} if step % 2 == 0 else {}) for step in range(1, 9)]
    run = read(write_log("run.jsonl", [*before, {"step": 4, "a": 1.0}, {"step": 5, "a": 1.0}]))
    assert kept(run, "a") == [(1, 0), (2, 0), (3, 0), (4, 1), (5, 1)]
    assert kept(run, "held") == [(2, 0)]
    assert run.resumed == [4]


def test_a_late_evaluation_is_no_resumption(write_log):
    run = read(write_log("run.jsonl", [{"step": 1, "a": 1}, {"step": 2, "a": 1}, {"step": 1, "held": 5}]))
    assert (len(run.series["a"].steps), kept(run, "held"), run.resumed) == (2, [(1, 5)], [])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"step": 2, "a": }', "not JSON"),
        ("[1, 2]", "one JSON object"),
        ('{"a": 1}', 'no "step"'),
        ('{"step": "two", "a": 1}', '"step" is "two"'),
        ('{"step": NaN, "a": 1}', "finite number"),
        ("[" * 100_000, "not JSON"),
        ('{"step": ' + "1" * 5000 + "}", "too long"),
    ],
)
def test_a_broken_line_is_a_finding_and_the_others_count(write_log, line, words):
    path = write_log("run.jsonl", [{"step": 1, "a": 1}, line, "", {"step": 3, "a": 2}])
    run = read(path)
    (finding,) = run.findings
    assert (finding.code, finding.severity, finding.span.file, finding.span.line) == ("AVA031", "error", str(path), 2)
    assert words in finding.message
    assert kept(run, "a") == [(1, 1), (3, 2)]


def test_a_last_line_without_end_is_said_to_be_cut(write_log):
    run = read(write_log("run.jsonl", [{"step": 1, "a": 1}, '{"step": 2, "a'], end=""))
    assert [(finding.code, finding.span.line) for finding in run.findings] == [("AVA032", 2)]
    assert read(write_log("whole.jsonl", [{"step": 1, "a": 1}], end="")).findings == []


@pytest.mark.parametrize("lines", [[], ["", "  "], ['{"step": 1}'], ["broken"]])
def test_a_log_without_values_says_so(write_log, lines):
    findings = read(write_log("run.jsonl", lines)).findings
    assert findings[-1].code == "AVA033"


def test_undecodable_bytes_and_a_mark_of_byte_order(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"step": 1, "a\xff": 1}\r\n\xff\xfe\r\n')
    run = read(path)
    assert list(run.series) == ["a\ufffd"]
    assert [finding.span.line for finding in run.findings] == [2]


def test_thousands_of_broken_lines_are_counted_and_a_few_shown(write_log):
    run = read(write_log("run.jsonl", ["x"] * 3000))
    assert run.broken == 3000
    assert len(run.findings) <= 20


def test_a_path_that_cannot_be_read(tmp_path):
    for path in (tmp_path, tmp_path / "none.jsonl", "nul\0byte.jsonl"):
        with pytest.raises(SourceError, match="cannot read"):
            read_run(str(path), "x")
