"""Ten thousand texts made wrong at random: each gets a verdict, soon, and every finding has a place in its text."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from ava.cli import main
from ava.config import Config, validate
from ava.config.quick import is_surely_valid
from ava.errors import AvaError, ConfigError, SourceError
from ava.load import Source, load_text, render_frame
from ava.load.frame import split_lines
from ava.load.overrides import parse_overrides
from tests.robustness.mutations import cases, mutate
from tests.robustness.texts import TEXTS

SECOND = 1.0


def check_findings(source: Source) -> None:
    """Assert what must hold of whatever is found in ``source``."""
    config, found = validate(source)
    errors = [item for item in found if item.severity == "error"]
    assert (config is None) == bool(errors)
    assert is_surely_valid(source) == (config is not None)
    assert len({(item.code, item.span, item.path, item.message) for item in found}) == len(found)
    for item in found:
        span = item.span
        assert item.message.isprintable()
        assert len(item.message) < 700
        assert (1, 1) <= (span.line, span.column) <= (span.end_line, span.end_column)
        if span.file in source.texts:
            lines = split_lines(source.texts[span.file])
            assert span.line <= len(lines)
            assert span.column <= len(lines[span.line - 1]) + 1
            assert "^" in render_frame(source.texts[span.file], span)
    assert len(str(ConfigError(found)).splitlines()) == len(found)


@pytest.mark.parametrize("part", range(10))
def test_a_text_gets_its_verdict(part: int) -> None:
    for data in cases(TEXTS, 1000, seed=part):
        start = time.process_time()
        try:
            check_findings(load_text(data, "x.yaml"))
        except Exception as error:
            raise AssertionError(f"{data!r}") from error
        assert time.process_time() - start < SECOND, data


def test_an_override_is_read_or_refused() -> None:
    source = random.Random(0)
    starts = ["terms.z_loss.weight=0.1", "model={vocab_size: 3}", "terms.mtp_loss={}", "description=text", "version=1"]
    refused, taken = 0, 2000
    for _ in range(2000):
        text = mutate(source.choice(starts), source, TEXTS)
        start = time.process_time()
        try:
            parse_overrides([text, "terms.z_loss.weight=1"])
        except SourceError as error:
            refused += str(error).startswith("--set ")
            taken -= 1
        assert time.process_time() - start < SECOND, text
    assert refused + taken == 2000
    assert min(refused, taken) > 200


def test_a_file_loads_or_has_mistakes(tmp_path: Path) -> None:
    path, mistakes = tmp_path / "x.yaml", 0
    for data in cases(TEXTS, 500, seed=100):
        path.write_bytes(data)
        try:
            config = Config.load(path, vocab_size=50257)
        except AvaError:
            mistakes += 1
        else:
            assert Config.load(config) == config
            hash(config)
    assert 0 < mistakes < 500


@pytest.mark.parametrize("form", ["text", "json", "github", "sarif", "junit", "markdown"])
def test_the_command_line_says_what_is_wrong(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, data in enumerate(cases(TEXTS, 40, seed=len(form))):
        Path("x.yaml").write_bytes(data)
        code = main(["validate", "x.yaml", "--format", form])
        captured = capsys.readouterr()
        assert code in (0, 1), (number, data, captured.err)
        assert captured.out
        assert captured.err == ""
