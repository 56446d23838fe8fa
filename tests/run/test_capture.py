"""A call is written as it was, read back as it was, and not disturbed."""

from __future__ import annotations

import warnings

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ava.config import Config
from ava.errors import MissingDependencyError, SourceError
from ava.losses import UnifiedLoss
from ava.run import capture as module
from ava.run.capture import CaptureError, capture_call, read_capture
from ava.run.loss import Loss

VOCABULARY = 12


def loss_of(document=None, **model) -> Loss:
    return Loss.load({"version": 1, "compile": {"enabled": False}, **(document or {})}, vocab_size=VOCABULARY, **model)


def call(**more):
    return {
        "logits": torch.randn(2, 5, VOCABULARY, dtype=torch.bfloat16).requires_grad_(),
        "targets": torch.randint(0, VOCABULARY, (2, 5)),
        **more,
    }


def test_the_next_call_and_only_that_is_written(tmp_path):
    loss, inputs = loss_of({"terms": {"z_loss": {}}}), call(num_items=7)
    file = tmp_path / "call.safetensors"
    order = capture_call(loss, file)
    assert not file.exists()
    total = loss(**inputs)
    assert order.written
    first = file.read_bytes()
    loss(**call())
    assert file.read_bytes() == first
    total.backward()
    captured = read_capture(file)
    assert torch.equal(captured.inputs["logits"], inputs["logits"])
    assert captured.inputs["logits"].dtype == torch.bfloat16
    assert captured.inputs["logits"].requires_grad
    assert torch.equal(captured.inputs["targets"], inputs["targets"])
    assert captured.inputs["num_items"].item() == 7
    assert list(captured.inputs) == ["logits", "num_items", "targets"] or set(captured.inputs) == set(inputs)
    assert Config.load(captured.config) == loss.config
    assert captured.training
    assert [path.name for path in tmp_path.iterdir()] == ["call.safetensors"]


def test_positional_arguments_and_no_gradient(tmp_path):
    loss, inputs = loss_of(), call()
    capture_call(loss, tmp_path / "a")
    with torch.no_grad():
        loss(inputs["logits"].detach(), inputs["targets"])
    captured = read_capture(tmp_path / "a")
    assert set(captured.inputs) == {"logits", "targets"}
    assert not captured.inputs["logits"].requires_grad


def test_the_call_goes_on_as_without(tmp_path):
    inputs = call()
    losses = [loss_of({"primary": {"type": "deepseek"}, "terms": {"z_loss": {}}}) for _ in range(2)]
    capture_call(losses[1], tmp_path / "a")
    totals = [loss(**inputs) for loss in losses]
    assert torch.equal(*totals)
    assert torch.equal(*(torch.autograd.grad(total, inputs["logits"])[0] for total in totals))
    states = [loss.state_dict() for loss in losses]
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not losses[1]._forward_pre_hooks


def test_the_state_is_that_before_the_call(tmp_path):
    document = {"primary": {"type": "deepseek", "temperature": {"adaptive": True}}, "terms": {"z_loss": {}}}
    loss = loss_of(document)
    for _ in range(12):
        loss(**call())
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    capture_call(loss, tmp_path / "a")
    loss(**call())
    again = loss_of(document)
    read_capture(tmp_path / "a").restore(again)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in before.items())
    assert int(again.state.step) == 12


def test_parameters_and_experts_come_back(tmp_path):
    document = {"terms": {"mtp_loss": {"num_future_tokens": 2}, "moe_balance_loss": {}}}
    loss = loss_of(document, hidden_size=4)
    inputs = call(hidden_states=torch.randn(2, 5, 4), gate_logits=[torch.randn(2, 5, 3), torch.randn(2, 5, 3)])
    loss(**inputs)
    capture_call(loss, tmp_path / "a")
    loss.eval()
    expected = loss(**inputs)
    captured = read_capture(tmp_path / "a")
    assert len(captured.inputs["gate_logits"]) == 2
    again = loss_of(document, hidden_size=4)
    captured.restore(again)
    again.eval()
    assert torch.equal(again(**captured.to("cpu")), expected)
    assert not captured.training


def test_a_context_manager(tmp_path):
    loss, inputs = loss_of(), call()
    with capture_call(loss, tmp_path / "a") as order:
        loss(**inputs)
    assert order.written
    with pytest.warns(UserWarning, match="no call"), capture_call(loss, tmp_path / "b"):
        pass
    loss(**inputs)
    assert not (tmp_path / "b").exists()
    order = capture_call(loss, tmp_path / "c")
    order.cancel()
    loss(**inputs)
    assert not (tmp_path / "c").exists()


def test_the_flat_loss(tmp_path):
    loss = UnifiedLoss(vocab_size=VOCABULARY, overrides={"compile.enabled": False})
    inputs = call()
    capture_call(loss, tmp_path / "a")
    loss(inputs["logits"], inputs["targets"], torch.ones(2, 5))
    assert set(read_capture(tmp_path / "a").inputs) == {"logits", "targets", "attention_mask"}


def test_a_call_that_fails_is_captured_too(tmp_path):
    loss, inputs = loss_of(), call()
    capture_call(loss, tmp_path / "a")
    with pytest.raises(ValueError, match="targets"):
        loss(inputs["logits"], inputs["targets"][:, :3])
    assert read_capture(tmp_path / "a").inputs["targets"].shape == (2, 3)


def test_shared_memory_is_taken_apart(tmp_path):
    base = torch.randn(2, 6, VOCABULARY)
    loss = loss_of({"terms": {"distillation_loss": {}}})
    capture_call(loss, tmp_path / "a")
    loss(base[:, :5], torch.zeros(2, 5, dtype=torch.int64), teacher_logits=base[:, 1:])
    captured = read_capture(tmp_path / "a").inputs
    assert torch.equal(captured["logits"], base[:, :5])
    assert torch.equal(captured["teacher_logits"], base[:, 1:])


def test_what_cannot_be_written_is_said_and_does_not_stop_training(tmp_path):
    loss = loss_of()
    with pytest.raises(SourceError, match="folder"):
        capture_call(loss, tmp_path / "missing" / "a")
    with pytest.raises(SourceError, match="folder"):
        capture_call(loss, tmp_path)
    folder = tmp_path / "gone"
    folder.mkdir()
    order = capture_call(loss, folder / "a")
    folder.rmdir()
    with pytest.warns(UserWarning, match="not captured"):
        assert loss(**call()).isfinite()
    assert not order.written


def test_a_file_written_halfway_leaves_the_old_one(tmp_path, monkeypatch):
    loss, file = loss_of(), tmp_path / "a"
    capture_call(loss, file)
    loss(**call())
    before = file.read_bytes()
    monkeypatch.setattr("safetensors.torch.save_file", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    capture_call(loss, file)
    with pytest.warns(UserWarning, match="disk full"):
        loss(**call())
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_without_safetensors_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for work in (lambda: capture_call(loss_of(), tmp_path / "a"), lambda: read_capture(tmp_path / "a")):
        with pytest.raises(MissingDependencyError, match=r"ava-loss\[safetensors\]"):
            work()


def test_a_file_of_somebody_else_needs_only_the_arguments(tmp_path):
    save_file({"logits": torch.zeros(2, 3, 4), "targets": torch.zeros(2, 3, dtype=torch.int64)}, tmp_path / "a")
    captured = read_capture(tmp_path / "a")
    assert captured.config is None
    assert captured.inputs["logits"].requires_grad
    assert captured.to("cpu", torch.float64)["logits"].dtype == torch.float64
    assert captured.to("cpu", torch.float64)["targets"].dtype == torch.int64


LOGITS, TARGETS = torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"logits": LOGITS, "target": TARGETS}, "did you mean `targets`"),
        ({"logits": LOGITS}, "no `targets`"),
        ({"targets": TARGETS}, "neither `logits` nor"),
        ({"targets": TARGETS, "hidden_states": LOGITS}, "neither `logits` nor"),
        ({"logits.0": LOGITS, "targets": TARGETS}, "not an argument"),
        ({"logits": LOGITS, "targets": TARGETS, "gate_logits.1": LOGITS + 1}, "gate_logits.0"),
    ],
)
def test_wrong_names(tmp_path, tensors, message):
    save_file(tensors, tmp_path / "a")
    with pytest.raises(CaptureError, match=message):
        read_capture(tmp_path / "a")


def test_no_such_file_and_no_such_format(tmp_path):
    with pytest.raises(SourceError, match="nothing"):
        read_capture(tmp_path / "nothing")
    with pytest.raises(SourceError):
        read_capture(tmp_path)
    for content in (b"", b"version: 1\n", b"\xff" * 100):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(CaptureError, match="no safetensors"):
            read_capture(tmp_path / "a")
    metadata = {"state": '{"step": 1}'}
    save_file({"logits": LOGITS, "targets": TARGETS}, tmp_path / "b", metadata)
    with pytest.raises(CaptureError, match="state"):
        read_capture(tmp_path / "b")


def test_inside_somebodys_graph_the_order_waits(tmp_path, monkeypatch):
    loss = loss_of()
    order = capture_call(loss, tmp_path / "a")
    monkeypatch.setattr(module.torch.compiler, "is_compiling", lambda: True)
    order._before(loss, (), call())
    monkeypatch.undo()
    assert not order.written
    loss(**call())
    assert order.written
    with safe_open(tmp_path / "a", framework="pt") as opened, warnings.catch_warnings():
        assert opened.metadata()["ava-loss"] == "1"
