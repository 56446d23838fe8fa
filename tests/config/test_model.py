"""A configuration is frozen, hashable, strict, and has the defaults of the table."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest
from pydantic import ValidationError

from ava.config import Config, Model
from ava.terms.z_loss import ZLoss

DEFAULTS = {
    "version": 1,
    "description": "",
    "model": {
        "vocab_size": None,
        "padded_vocab_size": None,
        "hidden_size": None,
        "eos_token_id": None,
        "pad_token_id": None,
        "ignore_index": -100,
        "num_experts": None,
        "top_k": 2,
        "logit_scale": 1.0,
        "logit_softcap": None,
    },
    "targets": {"shift": False},
    "primary": {"type": "standard", "label_smoothing": 0.0, "temperature": None},
    "terms": {},
    "balancing": "fixed",
    "reduction": {"across": "none", "gradient_accumulation_steps": 1},
    "compile": {
        "enabled": "auto",
        "backend": "inductor",
        "mode": "default",
        "chunk_tokens": "auto",
        "checks": "cheap",
    },
}
SAMPLE = {"version": 1, "terms": {"ngram_penalty": {}, "z_loss": {"weight": {"from": 0, "to": 1, "steps": 3}}}}


def test_defaults() -> None:
    assert Config.load({"version": 1}).to_dict() == DEFAULTS
    assert Config() == Config.load({"version": 1})


def test_terms_come_in_the_order_of_the_roster() -> None:
    assert [term.name for term in Config.load(SAMPLE).enabled] == ["z_loss", "ngram_penalty"]


def test_it_is_frozen() -> None:
    config = Config.load(SAMPLE)
    with pytest.raises(ValidationError):
        config.balancing = "uncertainty"
    with pytest.raises(ValidationError):
        config.model.top_k = 3


def test_equal_configurations_hash_equal_wherever_they_come_from() -> None:
    config = Config.load(SAMPLE)
    other = Config.load({"version": 1, "terms": SAMPLE["terms"], "model": {"top_k": 2}, "balancing": "fixed"})
    assert config == other
    assert hash(config) == hash(other)
    assert config != Config.load(SAMPLE, overrides={"terms.z_loss.weight": 1})
    assert len({config, other, Config()}) == 2
    assert config != 1


def test_one_and_one_point_zero_are_the_same_weight() -> None:
    one, float_one = (Config.load({"version": 1, "terms": {"z_loss": {"weight": value}}}) for value in (1, 1.0))
    assert one == float_one
    assert isinstance(one.enabled[0].weight, float)


def test_copies_and_pickles_are_equal_and_keep_their_source() -> None:
    config = Config.load("standard", eos_token_id=2)
    for twin in (copy.deepcopy(config), copy.copy(config), pickle.loads(pickle.dumps(config))):
        assert twin == config
        assert hash(twin) == hash(config)
        assert twin.source is not None
        assert str(twin.source.origin(("primary", "type"))) == "preset `standard`"
    assert len(pickle.dumps(config)) < 10_000


def test_made_in_python_it_is_as_strict() -> None:
    assert Config(model=Model(vocab_size=3)).model.vocab_size == 3
    with pytest.raises(ValidationError, match="outside the vocabulary"):
        Config(model=Model(vocab_size=3, eos_token_id=3))
    with pytest.raises(ValidationError):
        ZLoss(weight="0.1")  # type: ignore[arg-type]


def test_importing_and_loading_do_without_torch() -> None:
    code = "from ava.config import Config; from ava.plan import Plan; str(Plan(Config.load('standard')))"
    code += "; import sys; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_adaptive_mtp_brings_its_term() -> None:
    config = Config.load({"version": 1, "primary": {"type": "adaptive_mtp"}})
    assert config.terms.mtp_loss is not None
    assert config.terms.mtp_loss.weighting == "adaptive"
    given = Config.load({"version": 1, "primary": {"type": "adaptive_mtp"}, "terms": {"mtp_loss": {"weight": 0.3}}})
    assert given.terms.mtp_loss is not None
    assert (given.terms.mtp_loss.weight, given.terms.mtp_loss.weighting) == (0.3, "adaptive")
    assert Config.load(given.to_dict()) == given
