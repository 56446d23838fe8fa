"""Four micro-batches of two rows with ``num_items`` give what one batch of eight gives: once, not four times."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from ava import Config, Loss
from ava.config.roster import ROSTER
from ava.load.presets import list_presets
from ava.terms.base import Kind
from tests.laws.table import SETTINGS, Answer, Gradients, assert_gradients, config, expect, run
from tests.reference import samples
from tests.reference.samples import Sample

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
WHOLE_INPUTS = ("mtp_logits", "mtp_hidden_states", "expert_outputs")  # their batch is the second dimension


def two_rows(whole: Sample, start: int, **more: Any) -> Sample:
    """Rows ``start`` and ``start + 1`` of a sample."""

    def cut(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [cut(name, item) for item in value]
        if not isinstance(value, Tensor) or value.ndim == 0 or name in ("lm_head", "lm_head_bias"):
            return value
        return value[:, start : start + 2] if name in WHOLE_INPUTS else value[start : start + 2]

    return Sample({name: cut(name, value) for name, value in whole.inputs.items()} | more, whole.model, whole.shift)


@cache
def eight_rows(shift: bool, experts: int = 4) -> Sample:
    """Eight packed, padded rows with everything, their numbers of valid tokens far apart; the third pair has none."""
    whole = samples.sample(
        90 + shift,
        batch=8,
        length=13,
        hidden=6,
        mtp=3,
        experts=experts,
        layers=2,
        teacher=True,
        eos=2,
        packed="eos",
        padding="right",
        with_input_ids=True,
        ignored=0.3,
        shift=shift,
    )
    targets = whole.inputs["targets"].clone()
    targets[0, :9] = -100
    targets[4:6] = -100
    return Sample({**whole.inputs, "targets": targets}, whole.model, shift)


def micro_batches(whole: Sample, items: Any) -> list[Sample]:
    return [two_rows(whole, start, **({} if items is None else {"num_items": items})) for start in range(0, 8, 2)]


def joined(parts: list[Answer], whole: Sample) -> Gradients:
    """The micro-batches' gradients laid into the whole batch's shape."""
    names = parts[0].gradients
    return {
        name: torch.cat([part.gradients[name] for part in parts], dim=1 if name in WHOLE_INPUTS else 0)
        for name in names
    }


def valid_tokens(settings: Mapping[str, Any], sample: Sample) -> float:
    return float(expect({**settings, "terms": {}}, sample).values["state/tokens"])


VARIANTS = [(name, settings) for name in ROSTER for settings in ({}, *SETTINGS.get(name, ()))]


@pytest.mark.parametrize("shift", [False, True], ids=["aligned", "shift"])
@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_micro_batches_add_up(name: str, options: dict[str, Any], shift: bool) -> None:
    whole = eight_rows(shift)
    settings = config(whole, {name: {"weight": 1.0, **options}}, "smoothed")
    counts = [valid_tokens(settings, part) for part in micro_batches(whole, None)]
    items = sum(counts)
    assert len(set(counts)) > 2
    assert 0 in counts
    loss = Loss.load(settings)
    parts = [run(loss.eval(), part) for part in micro_batches(whole, torch.tensor(items))]
    added = {key: sum(float(part.values[key]) for part in parts) for key in ("total_loss", "main_loss", name)}

    if ROSTER[name].kind is Kind.OWN_MEAN:
        alone = [run(loss, part) for part in micro_batches(whole, None)]
        mean = sum(float(part.values[name]) * count / items for part, count in zip(alone, counts, strict=True))
        assert added[name] == pytest.approx(mean, rel=1e-10)
        expected = [expect(settings, part) for part in micro_batches(whole, torch.tensor(items))]
        assert_gradients(joined(parts, whole), joined(expected, whole), **CLOSE)
    else:
        one = run(loss, whole)
        for key, value in added.items():
            assert value == pytest.approx(float(one.values[key]), rel=1e-10)
        assert_gradients(joined(parts, whole), one.gradients, **CLOSE)


def presets() -> list[str]:
    return [preset.name for preset in list_presets()]


@pytest.mark.parametrize("preset", presets())
def test_presets_split(preset: str) -> None:
    """Every preset, as a trainer runs it: four calls with the window's token count, against one call."""
    whole = eight_rows(False, experts=8)
    fields = {"vocab_size": 11, "eos_token_id": 2, "hidden_size": 6, "num_experts": 8}
    open_fields = {name: value for name, value in fields.items() if getattr(Config.load(preset).model, name) is None}
    overrides = {"compile.enabled": False, "terms.ngram_penalty.size": 2}
    if preset == "fast_prototype":
        overrides.pop("terms.ngram_penalty.size")
    at_once = Loss.load(preset, overrides=overrides, **open_fields)
    in_parts = Loss.load(preset, overrides={**overrides, "reduction.gradient_accumulation_steps": 4}, **open_fields)
    own_mean = [p.name for p in at_once.plan.terms if p.term.kind is Kind.OWN_MEAN]

    settings = config(whole, {})
    counts = [valid_tokens(settings, part) for part in micro_batches(whole, None)]
    one = run(at_once, whole)
    parts = [run(in_parts, part) for part in micro_batches(whole, sum(counts))]
    for name in one.values:
        if name == "total_loss" or name in own_mean or name.startswith(("raw/", "metrics/")):
            continue
        assert sum(float(part.values[name]) for part in parts) == pytest.approx(float(one.values[name]), rel=1e-10)
    if not own_mean:
        assert_gradients(joined(parts, whole), one.gradients, **CLOSE)
    for name in own_mean:
        fresh = [
            run(Loss.load(preset, overrides=overrides, **open_fields), part) for part in micro_batches(whole, None)
        ]
        mean = sum(float(p.values[name]) * count / sum(counts) for p, count in zip(fresh, counts, strict=True))
        assert sum(float(part.values[name]) for part in parts) == pytest.approx(mean, rel=1e-10)

    left, right = at_once.state.state_dict(), in_parts.state.state_dict()
    assert left.keys() == right.keys()
    for name, value in left.items():
        torch.testing.assert_close(right[name], value, rtol=1e-12, atol=1e-14, msg=lambda text, name=name: name + text)
    assert int(right["step"]) == 1


def test_num_items_as_a_number_or_a_tensor_is_the_same() -> None:
    whole = eight_rows(False)
    loss = Loss.load(config(whole, {"z_loss": {}})).eval()
    answers = [
        run(loss, Sample({**whole.inputs, "num_items": items}, whole.model)).values["total_loss"]
        for items in (37, 37.0, torch.tensor(37), torch.tensor([37.0]), torch.tensor(37, dtype=torch.int32))
    ]
    assert len({float(answer) for answer in answers}) == 1
