"""``Config.load``: sources, overrides, and keywords for what a file leaves open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ava.config import Config
from ava.errors import ArgumentTypeError, ArgumentValueError, AvaError, ConfigError, SourceError


def test_a_preset_a_path_a_mapping_and_a_config(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("version: 1\nextends: standard\nterms: {eos_penalty: null}")
    config = Config.load(path)
    assert config == Config.load(str(path)) == Config.load(config)
    assert config == Config.load("standard", overrides={"terms.eos_penalty": None})
    assert config == Config.load(config.to_dict())


def test_mistakes_raise_with_all_findings() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.load({"version": 1, "balancing": "x", "terms": {"z_loss": {"weight": "x"}, "focal_loss": None}})
    assert [item.code for item in caught.value.findings] == ["AVA103", "AVA104"]  # the null term is advice


def test_nothing_to_read_is_a_source_error() -> None:
    with pytest.raises(SourceError, match="did you mean `standard`"):
        Config.load("standrad")


def test_keywords_fill_what_is_open() -> None:
    source = {"version": 1, "model": {"vocab_size": None, "pad_token_id": 3}}
    model = Config.load(source, vocab_size=np.int64(100), eos_token_id=2, pad_token_id=3, ignore_index=-1).model
    assert (model.vocab_size, model.eos_token_id, model.pad_token_id, model.ignore_index) == (100, 2, 3, -1)
    assert type(model.vocab_size) is int
    assert Config.load(source, eos_token_id=None).model.eos_token_id is None


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"vocab_sise": 3}, ArgumentTypeError, "unknown keyword `vocab_sise`; did you mean `vocab_size`?"),
        ({"vocab_size": "3"}, ArgumentTypeError, "vocab_size: expected an integer or null, got the string `3`"),
        ({"vocab_size": True}, ArgumentTypeError, "got `true`"),
        ({"vocab_size": object()}, ArgumentTypeError, "got object"),
        ({"vocab_size": 0}, ArgumentValueError, "vocab_size should be at least 1, got 0"),
        ({"top_k": 3}, ArgumentValueError, "the keyword says 3, and `model.top_k` at <dict>:1:1 says 4"),
    ],
)
def test_a_wrong_keyword_says_so(keywords: dict[str, Any], error: type[AvaError], message: str) -> None:
    for source in ({"version": 1, "model": {"top_k": 4}}, Config.load({"version": 1, "model": {"top_k": 4}})):
        with pytest.raises(error) as caught:
            Config.load(source, **keywords)
        assert message in str(caught.value)


def test_a_keyword_can_contradict_another_field() -> None:
    with pytest.raises(ConfigError, match=r"AVA113 .*`eos_token_id` 9 is outside the vocabulary"):
        Config.load({"version": 1, "model": {"eos_token_id": 9}}, vocab_size=5)


def test_a_config_takes_overrides_and_keywords_and_keeps_its_origins() -> None:
    config = Config.load(Config.load("standard"), overrides={"terms.ngram_penalty.weight": 0.2}, eos_token_id=2)
    assert config == Config.load("standard", overrides=["terms.ngram_penalty.weight=0.2"], eos_token_id=2)
    assert config.source is not None
    assert str(config.source.origin(("terms", "ngram_penalty", "weight"))) == "--set"
    assert str(config.source.origin(("primary", "type"))) == "preset `standard`"
    made = Config.load(Config(balancing="uncertainty"), vocab_size=3)
    assert (made.balancing, made.model.vocab_size) == ("uncertainty", 3)


def test_a_broken_model_section_is_still_reported_beside_keywords() -> None:
    with pytest.raises(ConfigError, match=r"AVA103 .*`model`: expected a mapping"):
        Config.load({"version": 1, "model": 3}, vocab_size=5)
