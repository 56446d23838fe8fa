"""Each cause of a loss that is not finite is found, at its place, with something to try."""

from __future__ import annotations

import math

import pytest
import torch

from ava.errors import ArgumentValueError, AvaError, NonFiniteLossError
from ava.run.diagnose import diagnose, require_finite
from ava.run.loss import Loss

VOCABULARY, BATCH, LENGTH, HIDDEN = 16, 3, 8, 8


def loss_of(document=None, **model) -> Loss:
    config = {"version": 1, "compile": {"enabled": False}, **(document or {})}
    return Loss.load(config, vocab_size=VOCABULARY, **model)


def call(dtype=torch.float32, **more):
    generator = torch.Generator().manual_seed(0)
    return {
        "logits": torch.randn(BATCH, LENGTH, VOCABULARY, generator=generator).to(dtype),
        "targets": torch.randint(0, VOCABULARY, (BATCH, LENGTH), generator=generator),
        **more,
    }


def linear_call(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    inputs = call()
    del inputs["logits"]
    inputs["hidden_states"] = torch.randn(BATCH, LENGTH, HIDDEN, generator=generator).to(dtype)
    inputs["lm_head"] = torch.randn(VOCABULARY, HIDDEN, generator=generator).to(dtype)
    return inputs


def only(found):
    assert not found.finite
    assert len(found.findings) == 1
    assert found.findings[0].severity == "error"
    return found.findings[0]


def test_a_finite_loss_says_so_with_its_extremes():
    loss, inputs = loss_of({"terms": {"z_loss": {}}}), call()
    found = diagnose(loss, **inputs)
    assert found.finite
    assert (found.first, found.term, found.findings) == (None, None, ())
    assert found.total == pytest.approx(loss(**inputs).item())
    assert found.extremes["logits"] == (inputs["logits"].min().item(), inputs["logits"].max().item())
    assert set(found.terms) == {"main_loss", "z_loss"}
    assert str(found).startswith("The loss is finite: ")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_logit_that_is_no_number(value):
    inputs = call()
    inputs["logits"][1, 4, 7] = value
    found = diagnose(loss_of(), **inputs)
    finding = only(found)
    assert (found.first.tensor, found.first.row, found.first.position) == ("logits", 1, 4)
    assert found.first.index == (1, 4, 7)
    assert str(found.first.value) == str(value)
    assert found.term == "main_loss"
    assert finding.code == "AVA561"
    assert "learning rate" in finding.message
    assert "`logits`[1, 4, 7]" in str(found)


def test_what_does_not_count_is_not_blamed():
    inputs = call()
    inputs["logits"][0, 0] = math.nan
    inputs["targets"][0, 0] = -100
    assert diagnose(loss_of(), **inputs).finite
    inputs["logits"][2, 1] = math.nan
    found = diagnose(loss_of(), **inputs)
    assert (found.first.row, found.first.position) == (2, 1)


def test_shift():
    inputs = call()
    inputs["logits"][1, 3, 0] = math.nan
    found = diagnose(loss_of({"targets": {"shift": True}}), **inputs)
    assert (found.first.row, found.first.position) == (1, 3)
    inputs = call()
    inputs["targets"][2, 5] = 99
    found = diagnose(loss_of({"targets": {"shift": True}}), **inputs)
    assert (found.first.row, found.first.position) == (2, 4)


def test_one_row_without_a_batch():
    inputs = {name: value[0] for name, value in call().items()}
    inputs["logits"][6, 1] = math.nan
    found = diagnose(loss_of(), **inputs)
    assert (found.first.row, found.first.position) == (0, 6)


def test_float16_overflow_of_given_logits():
    inputs = call(torch.float16)
    inputs["logits"][0, 2, 3] = math.inf
    finding = only(diagnose(loss_of(), **inputs))
    assert finding.code == "AVA562"
    assert "65504" in finding.message
    assert "bfloat16" in finding.message


def test_float16_overflow_in_the_head():
    inputs = linear_call(torch.float16)
    inputs["hidden_states"][1, 6] = 2000 * inputs["lm_head"][5]
    inputs["lm_head"][5] *= 30
    found = diagnose(loss_of(), **inputs)
    assert only(found).code == "AVA562"
    assert (found.first.tensor, found.first.row, found.first.position) == ("logits", 1, 6)
    assert "65504" in found.findings[0].message


def test_hidden_states_come_before_the_logits_made_of_them():
    inputs = linear_call()
    inputs["hidden_states"][2, 3, 1] = math.nan
    found = diagnose(loss_of(), **inputs)
    assert only(found).code == "AVA561"
    assert (found.first.tensor, found.first.row, found.first.position) == ("hidden_states", 2, 3)


def test_a_target_whose_logit_is_switched_off():
    inputs = call()
    inputs["logits"][2, 7, inputs["targets"][2, 7]] = -math.inf
    found = diagnose(loss_of(), **inputs)
    assert only(found).code == "AVA565"
    assert (found.first.row, found.first.position) == (2, 7)
    assert "model.ignore_index" in found.findings[0].message


def test_smoothing_over_a_logit_that_is_switched_off():
    inputs = call()
    inputs["logits"][1, 2, (inputs["targets"][1, 2] + 1) % VOCABULARY] = -math.inf
    assert diagnose(loss_of(), **inputs).finite
    found = diagnose(loss_of({"primary": {"label_smoothing": 0.1}}), **inputs)
    assert "`primary.label_smoothing: 0.0`" in only(found).message
    assert (found.first.row, found.first.position) == (1, 2)


def test_a_row_without_any_logit():
    inputs = call()
    inputs["logits"][0, 5] = -math.inf
    found = diagnose(loss_of(), **inputs)
    assert only(found).code == "AVA565"
    assert (found.first.row, found.first.position) == (0, 5)


def test_a_target_outside_the_vocabulary():
    inputs = call()
    inputs["targets"][1, 1] = VOCABULARY + 3
    found = diagnose(loss_of(), **inputs)
    assert only(found).code == "AVA564"
    assert (found.first.tensor, found.first.value) == ("targets", VOCABULARY + 3)
    assert f"`model.vocab_size: {VOCABULARY + 4}`" in found.findings[0].message


@pytest.mark.parametrize("value", [0.0, math.nan, 1e-38])
def test_a_temperature_out_of_reach(value):
    loss = loss_of({"primary": {"type": "deepseek"}})
    loss.state.temperature.fill_(value)
    inputs = call()
    inputs["logits"] *= 10
    found = diagnose(loss, **inputs)
    assert only(found).code == "AVA563"
    assert found.first.tensor == "temperature"
    assert "`primary.temperature.initial: 1.0`" in found.findings[0].message


def test_a_weight_that_is_too_large():
    found = diagnose(loss_of({"terms": {"z_loss": {"weight": 1e38}}}), **call())
    assert "`terms.z_loss.weight: 0.0001`" in only(found).message
    assert found.findings[0].code == "AVA566"
    assert found.term == "z_loss"


def test_a_learned_variance_that_ran_away():
    loss = loss_of({"terms": {"z_loss": {}}, "balancing": "uncertainty"})
    with torch.no_grad():
        loss.log_variances.fill_(-1000.0)
    finding = only(diagnose(loss, **call()))
    assert finding.code == "AVA566"
    assert "`balancing: fixed`" in finding.message


def test_a_parameter_of_the_loss():
    loss = loss_of({"terms": {"mtp_loss": {}}}, hidden_size=HIDDEN)
    with torch.no_grad():
        loss.heads.projection[1, 2, 3] = math.nan
    found = diagnose(loss, **call(hidden_states=torch.randn(BATCH, LENGTH, HIDDEN)))
    assert only(found).code == "AVA567"
    assert (found.term, found.first.tensor) == ("mtp_loss", "heads.projection")


def test_a_term_that_overflows_is_named_with_its_position():
    inputs = call()
    inputs["logits"][1, 5] = 1e20
    found = diagnose(loss_of({"terms": {"z_loss": {}}}), **inputs)
    finding = only(found)
    assert (found.term, found.first.tensor, found.first.row, found.first.position) == ("z_loss", "z_loss", 1, 5)
    assert "1e20" in finding.message
    assert "`terms.z_loss: null`" in finding.message


def test_a_gradient_that_overflows_under_a_finite_loss():
    inputs = call(torch.float16)
    inputs["targets"][:, 1:] = -100
    found = diagnose(loss_of({"terms": {"z_loss": {"weight": 3e5}}}), **inputs)
    assert math.isfinite(found.total)
    assert not found.finite
    assert found.first.tensor == "gradient of logits"
    assert found.first.position == 0


def experts(**more):
    gates = torch.randn(BATCH, LENGTH, 4)
    return call(gate_logits=[gates.clone(), gates.clone()], **more)


def test_experts():
    loss = loss_of({"terms": {"router_z_loss": {}, "expert_diversity_loss": {}}})
    inputs = experts(expert_outputs=torch.randn(4, BATCH, LENGTH, HIDDEN))
    assert diagnose(loss, **inputs).finite
    inputs["expert_outputs"][3, 1, 2, 0] = math.nan
    found = diagnose(loss, **inputs)
    assert (found.first.tensor, found.first.row, found.first.position) == ("expert_outputs", 1, 2)
    inputs["gate_logits"][1][2, 4, 0] = math.nan
    found = diagnose(loss, **inputs)
    assert (found.first.tensor, found.first.row, found.first.position) == ("gate_logits[1]", 2, 4)
    assert found.term == "router_z_loss"


def test_flattened_experts():
    loss = loss_of({"terms": {"router_z_loss": {}}})
    gates = torch.randn(BATCH * LENGTH, 4)
    gates[LENGTH + 2, 1] = math.nan
    found = diagnose(loss, **call(gate_logits=gates))
    assert (found.first.row, found.first.position) == (1, 2)


def test_future_token_heads():
    loss = loss_of({"terms": {"mtp_loss": {"num_future_tokens": 2}}})
    logits = torch.randn(2, BATCH, LENGTH, VOCABULARY)
    logits[1, 0, LENGTH - 1] = math.nan  # predicts beyond the row
    assert diagnose(loss, **call(mtp_logits=logits)).finite
    logits[1, 2, 3, 0] = math.nan
    found = diagnose(loss, **call(mtp_logits=list(logits)))
    assert (found.first.tensor, found.first.row, found.first.position) == ("mtp_logits", 2, 3)
    assert found.term == "mtp_loss"


def test_nothing_counts():
    inputs = call()
    inputs["targets"].fill_(-100)
    found = diagnose(loss_of(), **inputs)
    assert found.finite
    assert [(item.code, item.severity) for item in found.findings] == [("AVA568", "warning")]
    assert found.total == 0


def test_the_loss_is_left_as_it_was():
    loss = loss_of({"primary": {"type": "deepseek"}, "terms": {"moe_balance_loss": {}}})
    inputs = experts()
    loss(**inputs)
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    inputs["logits"].requires_grad_()
    inputs["logits"].data[0, 0, 0] = math.nan
    assert not diagnose(loss, **inputs).finite
    after = loss.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert loss.training
    assert inputs["logits"].grad is None
    assert diagnose(loss_of({"terms": {"moe_balance_loss": {}}}), **experts()).finite


def test_wrong_arguments_are_said_as_by_the_call():
    with pytest.raises(ArgumentValueError, match="targets"):
        diagnose(loss_of(), logits=call()["logits"])
    with pytest.raises(ArgumentValueError, match="columns"):
        diagnose(loss_of(), logits=torch.zeros(1, 2, 3), targets=torch.zeros(1, 2, dtype=torch.int64))


def test_an_error_with_the_diagnosis():
    loss, inputs = loss_of(), call()
    require_finite(loss, loss(**inputs), **inputs)
    inputs["logits"][1, 4, 7] = math.nan
    with pytest.raises(NonFiniteLossError, match="row 1, position 4") as caught:
        require_finite(loss, loss(**inputs), **inputs)
    assert isinstance(caught.value, (AvaError, ArithmeticError))
    assert caught.value.diagnosis.first.tensor == "logits"


def test_compiled_alone_is_not_finite():
    inputs = call()
    with pytest.raises(NonFiniteLossError, match="uncompiled") as caught:
        require_finite(loss_of(), torch.tensor(math.nan), **inputs)
    assert [finding.code for finding in caught.value.diagnosis.findings] == ["AVA555"]


def test_a_diagnosis_does_not_wait_for_other_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """One rank's loss is not finite; the others go on."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    config = {"version": 1, "reduction": {"across": "data_parallel"}, "compile": {"enabled": False}}
    found = Loss.load(config).diagnose(
        logits=torch.full((1, 2, 3), torch.nan), targets=torch.zeros(1, 2, dtype=torch.int64)
    )
    assert not found.finite
    assert [finding.name for finding in found.findings] == ["non-finite-input"]


def test_a_part_of_the_vocabulary_is_not_taken_for_the_whole() -> None:
    loss = Loss.load({"version": 1, "model": {"vocab_size": 6}, "compile": {"enabled": False}})
    part = {"logits": torch.full((1, 2, 3), torch.nan), "targets": torch.zeros(1, 2, dtype=torch.int64)}
    with pytest.raises(NonFiniteLossError, match="gather the tensors"):
        require_finite(loss, torch.tensor(torch.nan), True, **part)
