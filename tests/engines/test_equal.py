"""`linear` says what `logits` says: value, details, gradients and state, in float64, for any size of chunk."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
import torch

from ava.config import Config
from ava.config.roster import ROSTER
from ava.load.presets import list_presets
from tests.engines.both import HEAD, Heard, assert_same, compare, everything, hear, load
from tests.laws.table import EXACT, assert_gradients, assert_values, expect, readable, together, variants
from tests.reference.samples import Sample, ignore_all

PRESETS = ["standard", "anti_repetition", "fast_prototype", "production", "moe", "mtp"]
CHUNKS: list[Any] = [1, 7, 26, 100, "auto"]
"""Of the 26 rows of a sample: one at a time, a size that does not divide them, all at once, and the default."""
PRIMARY = {"type": "deepseek", "label_smoothing": 0.1, "temperature": {"initial": 1.3, "adaptive": True}}


def config(sample: Sample, terms: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return sample.config(terms, **{"primary": PRIMARY, **sections})


def all_terms(sample: Sample) -> dict[str, Any]:
    terms = together(sample)
    terms.setdefault("mtp_loss", {"num_future_tokens": 2, "weighting": "adaptive", "heads": "tied"})
    return terms


CALLS: dict[str, Sample] = {
    "whole": everything(),
    "all_valid": everything(81, ignored=0.0),
    "few_ignored": everything(82, ignored=0.04),
    "mostly_ignored": everything(83, ignored=0.85),
    "nothing_valid": ignore_all(everything(84)),
    "num_items": everything(85, num_items=61.0),
    "shift": everything(86, shift=True),
    "segment_ids": everything(87, packed="ids", padding="right", batch=3),
    "shift_segment_ids": everything(88, packed="ids", shift=True, with_input_ids=False),
    "padding_left": everything(89, packed="no", padding="left", pad=0, batch=3),
    "future_states": everything(90, mtp=3, mtp_hidden=True),
    "future_states_mostly_ignored": everything(91, mtp=2, mtp_hidden=True, ignored=0.8),
    "future_logits_mostly_ignored": everything(92, mtp=2, ignored=0.8),
    "one_row": everything(93, batch=1),
    "one_token": everything(94, batch=1, length=1, ignored=0.0, packed="no"),
    "one_column_wide": everything(95, vocab=7, padded_vocab=8),
}


@pytest.mark.parametrize("name", CALLS)
def test_all_terms_on_every_kind_of_call(name: str) -> None:
    sample = CALLS[name]
    compare(config(sample, all_terms(sample)), sample, **{"compile.chunk_tokens": 7})


@pytest.mark.parametrize("size", CHUNKS)
def test_any_size_of_chunk(size: Any) -> None:
    for name in ("whole", "mostly_ignored", "future_states"):
        sample = CALLS[name]
        compare(config(sample, all_terms(sample)), sample, **{"compile.chunk_tokens": size})


@pytest.mark.parametrize(("name", "settings"), variants(), ids=readable)
def test_each_term(name: str, settings: str) -> None:
    sample = CALLS["future_states" if name == "mtp_loss" else "whole"]
    found = compare(
        config(sample, {name: {"weight": 0.7, **json.loads(settings)}}), sample, **{"compile.chunk_tokens": 7}
    )
    assert torch.isfinite(found.values[f"raw/{name}"])


@pytest.mark.parametrize("primary", [{}, {"label_smoothing": 0.2}, PRIMARY], ids=["plain", "smoothed", "deepseek"])
def test_the_primary_loss_alone(primary: dict[str, Any]) -> None:
    compare(config(CALLS["whole"], {}, primary=primary), CALLS["whole"], **{"compile.chunk_tokens": 5})


@pytest.mark.parametrize("weighting", ["uniform", "adaptive"])
@pytest.mark.parametrize("heads", ["linear", "shared", "tied"])
@pytest.mark.parametrize("name", ["whole", "mostly_ignored", "shift_segment_ids"])
def test_own_future_heads(name: str, heads: str, weighting: str) -> None:
    sample = CALLS[name]
    terms = {"mtp_loss": {"heads": heads, "weighting": weighting, "confidence_threshold": 0.2}}
    found = compare(config(sample, terms), sample, **{"compile.chunk_tokens": 7})
    assert {"heads.norm_weight", "heads.norm_bias"} <= found.gradients.keys()
    assert ("heads.projection" in found.gradients) == (heads != "tied")


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset(preset: str) -> None:
    """Three steps, so that what one leaves in the state is there for the next."""
    sample = everything(96, mtp=0, experts=8)
    resolved = Config.load(preset, **sample.model).to_dict()
    losses = [load(resolved, **{"compile.chunk_tokens": 7}) for _ in range(2)]
    for step in range(3):
        call = everything(96 + step, experts=8, ignored=(0.1, 0.7, 0.0)[step])
        whole, chunked = (hear(loss, call, engine) for loss, engine in zip(losses, ("logits", "linear"), strict=True))
        assert_same(chunked, whole)
    assert int(losses[1].metrics()["step"]) == 3


def test_every_preset_there_is() -> None:
    assert set(PRESETS) == {preset.name for preset in list_presets()}


def test_schedules_uncertainty_and_accumulation() -> None:
    sample = CALLS["whole"]
    terms = all_terms(sample)
    terms["z_loss"] = {"weight": {"from": 0.0, "to": 0.5, "steps": 3, "shape": "cosine"}}
    terms["focal_loss"] = {"weight": {"from": 0.4, "to": 0.0, "steps": 2, "delay": 1}}
    settings = config(sample, terms, balancing="uncertainty", reduction={"gradient_accumulation_steps": 2})
    losses = [load(settings, **{"compile.chunk_tokens": 9}) for _ in range(2)]
    totals = []
    for _ in range(6):
        whole, chunked = (hear(loss, sample, engine) for loss, engine in zip(losses, ("logits", "linear"), strict=True))
        assert_same(chunked, whole)
        totals.append(float(chunked.values["total_loss"]))
    assert "log_variances" in chunked.gradients
    assert totals[0] == totals[1] != totals[2]  # the schedules moved, once for every two calls
    assert int(losses[1].metrics()["step"]) == 3


def test_a_term_left_out_for_want_of_its_tensors() -> None:
    sample = CALLS["whole"].without("gate_logits", "expert_indices", "expert_outputs", "teacher_logits")
    names = ("moe_balance_loss", "expert_diversity_loss", "distillation_loss")
    terms = {**together(sample), **{name: {"if_missing": "skip"} for name in names}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = compare(config(sample, terms), sample, **{"compile.chunk_tokens": 7})
    assert not found.values.keys() & set(names)


@pytest.mark.parametrize("detailed", [False, True])
def test_plain_calls_evaluation_and_calls_without_gradients(detailed: bool) -> None:
    sample = CALLS["whole"]
    settings = config(sample, all_terms(sample))
    expected = hear(load(settings), sample, "logits")
    plain = hear(load(settings), sample, detailed=detailed)
    assert_gradients(plain.gradients, expected.gradients)
    torch.testing.assert_close(plain.values["total_loss"], expected.values["total_loss"], **EXACT)
    quiet = load(settings, **{"compile.chunk_tokens": 7}).eval()
    before = {name: value.clone() for name, value in quiet.state_dict().items()}
    assert_gradients(hear(quiet, sample, detailed=detailed).gradients, expected.gradients)
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            out = quiet(**sample.inputs, return_detailed=detailed)
            total = out["total_loss"] if detailed else out
            assert not total.requires_grad
            torch.testing.assert_close(total.clone(), expected.values["total_loss"], **EXACT)
    after = quiet.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items() if not name.startswith("state.expert"))


@pytest.mark.parametrize("name", ["whole", "mostly_ignored", "shift_segment_ids", "future_states", "num_items"])
def test_against_the_reference(name: str) -> None:
    """Not by way of the other engine."""
    sample = CALLS[name]
    settings = config(sample, together(sample), compile={"enabled": False, "chunk_tokens": 7})
    expected = expect(settings, sample)
    found = hear(load(settings), sample)
    assert_values(found.values, expected.values)
    assert_gradients(found.gradients, expected.gradients)


@pytest.mark.parametrize("heads", ["linear", "shared", "tied"])
def test_own_heads_against_the_reference(heads: str) -> None:
    sample = CALLS["whole"]
    settings = config(sample, {"mtp_loss": {"heads": heads}}, compile={"enabled": False, "chunk_tokens": 7})
    loss = load(settings)
    assert loss.heads is not None
    names = {"projection": "weight", "block": "block_weight"}
    own = {names.get(name, name): parameter.detach() for name, parameter in loss.heads.named_parameters()}
    found = hear(loss, sample)
    expected = expect(settings, sample, heads=own)
    assert_values(found.values, expected.values)
    assert_gradients({k: v for k, v in found.gradients.items() if not k.startswith("heads.")}, expected.gradients)


def rows(sample: Sample) -> Sample:
    """The same call, as ``[N, …]`` of one row."""
    flat = {"targets": sample.inputs["targets"], "hidden_states": sample.inputs["hidden_states"]}
    return Sample({**sample.only(*HEAD), **{k: v.flatten(0, 1) for k, v in flat.items()}}, sample.model, sample.shift)


def test_positions_without_a_batch() -> None:
    sample = rows(everything(97, batch=1))
    found = compare(config(sample, {"focal_loss": {}, "ngram_penalty": {"size": 2}}), sample)
    assert found.gradients["hidden_states"].shape == (13, 6)


@pytest.mark.parametrize("name", ["whole", "mostly_ignored", "future_states"])
def test_the_size_of_chunks_changes_nothing_but_rounding(name: str) -> None:
    sample = CALLS[name]
    settings = config(sample, all_terms(sample))

    def at(size: Any) -> Heard:
        return hear(load(settings, torch.float32, **{"compile.chunk_tokens": size}), sample, dtype=torch.float32)

    one = at(26)
    for size in (1, 5, 9, "auto"):
        other = at(size)
        for key, value in one.values.items():
            torch.testing.assert_close(other.values[key], value, rtol=1e-6, atol=1e-7, msg=key)
        for key, gradient in one.gradients.items():
            assert float((other.gradients[key] - gradient).norm()) <= 1e-6 * float(gradient.norm()), key


def test_a_batch_of_nothing() -> None:
    inputs = {
        "hidden_states": torch.zeros(0, 5, 6, requires_grad=True),
        "lm_head": torch.ones(11, 6, requires_grad=True),
        "targets": torch.zeros(0, 5, dtype=torch.int64),
    }
    out = load({"version": 1, "terms": {"z_loss": {}}}, torch.float32)(**inputs)
    out.backward()
    assert out.item() == 0.0
    assert torch.equal(inputs["lm_head"].grad, torch.zeros(11, 6))


def test_all_terms_are_in_the_calls() -> None:
    assert set(all_terms(CALLS["whole"])) == set(ROSTER)
