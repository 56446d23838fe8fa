"""``UnifiedLoss`` is a ``Loss`` with flat keywords: readable, copied, saved, compiled like any other."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

import ava.losses
from ava import Config, Loss
from ava.errors import ArgumentTypeError, ArgumentValueError, AvaError, ConfigError
from ava.losses import UnifiedLoss, create_unified_loss
from ava.losses.keywords import DEFAULTS, PLACES, Keywords

V = 13
EVERYTHING: dict[str, Any] = {
    "vocab_size": V, "hidden_size": 8, "primary_loss_type": "deepseek", "adaptive_temperature": True,
    "temperature_bounds": (0.7, 1.5), "label_smoothing": 0.1, "eos_token_id": 2, "pad_token_id": 0, "use_mtp": True,
    "mtp_type": "adaptive", "shared_projection": True, "use_ngram_penalty": True, "ngram_size": 2,
    "use_immediate_repetition_penalty": True, "num_experts": 4, "use_moe_balancing": True, "use_focal_loss": True,
    "use_diversity_loss": True, "use_contrastive_loss": True, "router_z_weight": 0.01,
}  # fmt: skip


def make(**keywords: Any) -> UnifiedLoss:
    return UnifiedLoss(**{"vocab_size": V, **keywords}, overrides={"compile.enabled": False})


def call(seed: int = 0, **more: Any) -> dict[str, Any]:
    torch.manual_seed(seed)
    gates = torch.randn(2, 9, 4)
    return {
        "logits": (torch.randn(2, 9, V) * (1 + seed)).requires_grad_(),
        "targets": torch.randint(1, 5, (2, 9)),
        "hidden_states": torch.randn(2, 9, 8, requires_grad=True),
        "gate_logits": gates,
        "expert_indices": gates.topk(2).indices,
        "expert_outputs": torch.randn(4, 2, 9, 3),
        **more,
    }


def step(loss_fn: UnifiedLoss, seed: int) -> Tensor:
    loss = loss_fn(**call(seed))
    assert isinstance(loss, Tensor)
    return loss


def test_every_keyword_is_an_attribute_and_is_the_fields_default() -> None:
    loss_fn = UnifiedLoss(V)
    for keyword, value in DEFAULTS.items():
        assert getattr(loss_fn, keyword) == (V if keyword == "vocab_size" else value), keyword
    assert {"vocab_size", "hidden_size", *Keywords.__annotations__} == set(PLACES)
    weights = {name: value for name, value in DEFAULTS.items() if name.endswith(("_weight", "_balance_weight"))}
    assert weights == {
        "eos_penalty_weight": 0.05, "mtp_weight": 0.1, "ngram_penalty_weight": 0.1, "immediate_repetition_weight": 0.5,
        "gradient_balance_weight": 0.1, "focal_weight": 0.2, "diversity_weight": 0.05, "contrastive_weight": 0.1,
        "load_balancing_weight": 0.1, "router_z_weight": 1e-3,
    }  # fmt: skip


def test_attributes_are_read_only() -> None:
    loss_fn = make(use_ngram_penalty=True)
    with pytest.raises(AttributeError, match="`ngram_penalty_weight` is fixed when the loss is made"):
        loss_fn.ngram_penalty_weight = 0.3
    loss_fn.note = "anything else"
    assert loss_fn.note == "anything else"


def test_the_parts_are_the_seeds_and_add_up() -> None:
    loss_fn = make(**EVERYTHING)
    inputs = call()
    answer = loss_fn(**inputs, return_detailed=True)
    assert type(answer) is dict
    assert set(answer) == {
        "total_loss", "main_loss", "focal_loss", "immediate_repetition_penalty", "ngram_penalty", "eos_penalty",
        "mtp_loss", "contrastive_loss", "moe_balance_loss", "router_z_loss", "expert_diversity_loss",
    }  # fmt: skip
    assert all(isinstance(value, Tensor) and value.ndim == 0 for value in answer.values())
    torch.testing.assert_close(sum(answer.values()) - answer["total_loss"], answer["total_loss"].detach())
    assert [name for name, value in answer.items() if value.requires_grad] == ["total_loss"]


def test_positional_arguments_and_tensors_nobody_needs() -> None:
    loss_fn = make(use_ngram_penalty=True)
    inputs = call()
    mask = torch.ones(2, 9)
    mask[0, 5:] = 0
    by_position = loss_fn(inputs["logits"], inputs["targets"], mask, inputs["hidden_states"])
    rest = {name: value for name, value in inputs.items() if name not in ("logits", "targets")}
    by_name = loss_fn(logits=inputs["logits"], targets=inputs["targets"], attention_mask=mask, **rest)
    assert torch.equal(by_position, by_name)
    with pytest.raises(ArgumentTypeError, match="`atention_mask` is not an argument"):
        loss_fn(inputs["logits"], inputs["targets"], atention_mask=mask)


def test_the_same_as_the_configuration_it_stands_for(tmp_path: Any) -> None:
    loss_fn = make(**EVERYTHING)
    path = tmp_path / "loss.yaml"
    path.write_text(loss_fn.config.to_yaml())
    loaded = Loss.load(path)
    assert loaded.config == loss_fn.config
    loaded.load_state_dict(loss_fn.state_dict())
    inputs = call()
    assert torch.equal(loaded(**inputs), step(loss_fn, 0))
    assert type(UnifiedLoss.load("fast_prototype", vocab_size=V)) is Loss


def test_copies_and_pickles_go_on_like_the_original() -> None:
    loss_fn = make(**EVERYTHING)
    optimizer = torch.optim.SGD([*loss_fn.parameters(), torch.nn.Parameter(torch.zeros(()))], lr=0.1)
    loss_fn.attach(optimizer)
    step(loss_fn, 0).backward()
    optimizer.step()
    buffer = io.BytesIO()
    torch.save(loss_fn, buffer)
    buffer.seek(0)
    copies = [copy.deepcopy(loss_fn), pickle.loads(pickle.dumps(loss_fn)), torch.load(buffer, weights_only=False)]
    for other in copies:
        assert type(other) is UnifiedLoss
        assert other._attached is None
        assert (other.ngram_size, other.config) == (2, loss_fn.config)
        assert other.get_loss_statistics() == loss_fn.get_loss_statistics()
        assert torch.equal(step(other, 1), step(copy.deepcopy(loss_fn), 1))
    half = copy.deepcopy(loss_fn.to(torch.bfloat16))
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    assert half._schedules.dtype == torch.float64


def test_state_dict_round_trip() -> None:
    loss_fn = make(**EVERYTHING)
    for seed in range(12):
        step(loss_fn, seed)
    other = make(**EVERYTHING)
    other.load_state_dict(loss_fn.state_dict())
    assert other.get_loss_statistics() == loss_fn.get_loss_statistics()
    for seed in range(3):
        assert torch.equal(step(other, seed), step(loss_fn, seed))
    assert loss_fn.state.temperature != 1


def test_statistics_are_python_numbers_and_go_back_to_the_start() -> None:
    loss_fn = make(**EVERYTHING | {"adaptive_temperature": None, "temperature_bounds": None})
    start = {name: value.clone() for name, value in loss_fn.state_dict().items()}
    assert loss_fn.get_loss_statistics().keys().isdisjoint({"main_loss", "expert_usage/0/0"})
    main = [loss_fn(**call(seed), return_detailed=True)["main_loss"].item() for seed in range(3)]
    told = loss_fn.get_loss_statistics()
    assert all(type(value) in (int, float) for value in told.values())
    assert (told["step"], told["temperature"], told["weight/ngram_penalty"]) == (3, 1.0, 0.1)
    assert told["main_loss"] == pytest.approx(sum(main) / 3)
    assert sum(told[f"expert_usage/0/{expert}"] for expert in range(4)) == pytest.approx(1)
    loss_fn.reset_statistics()
    assert loss_fn.state_dict().keys() == start.keys()
    assert all(torch.equal(value, start[name]) for name, value in loss_fn.state_dict().items())
    inputs = call()
    inputs["gate_logits"] = [inputs["gate_logits"]] * 2  # another number of layers, after the reset
    inputs["expert_indices"] = [inputs["expert_indices"]] * 2
    loss_fn(**inputs)
    assert "expert_usage/1/3" in loss_fn.get_loss_statistics()


def test_statistics_of_evaluation_are_not_kept() -> None:
    loss_fn = make(use_ngram_penalty=True).eval()
    loss_fn(call()["logits"], call()["targets"])
    assert loss_fn.get_loss_statistics() == {"temperature": 1.0, "step": 0, "weight/ngram_penalty": 0.1}


def test_create_unified_loss() -> None:
    flat = {"vocab_size": V, "use_focal_loss": True, "focal_gamma": 3.0}
    for loss_fn in (
        create_unified_loss(flat),
        create_unified_loss({"losses": flat, "model": {"layers": 3}}),
        create_unified_loss(**flat),
        create_unified_loss({**flat, "focal_gamma": 1.0}, focal_gamma=3.0),
    ):
        assert type(loss_fn) is UnifiedLoss
        assert loss_fn.config.terms.focal_loss.gamma == 3.0
    assert create_unified_loss().vocab_size is None
    assert create_unified_loss({"losses": None}, vocab_size=V).vocab_size == V
    for wrong in ([("vocab_size", V)], {"losses": [V]}):
        with pytest.raises(ArgumentTypeError, match="should be a mapping of keywords, but is list"):
            create_unified_loss(wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="`use_focal` is not a keyword of UnifiedLoss; did you mean"):
        create_unified_loss({"use_focal": True})


def test_overrides_reach_what_has_no_keyword() -> None:
    loss_fn = UnifiedLoss(V, overrides={"targets.shift": True, "terms.z_loss": {}})
    assert loss_fn.config.targets.shift
    assert [term.name for term in loss_fn.config.enabled] == ["z_loss"]
    with pytest.raises(ConfigError, match="did you mean `z_loss`"):
        UnifiedLoss(V, overrides={"terms.z_los": {}})


def test_a_term_without_its_model_field_says_so() -> None:
    with pytest.raises(AvaError, match=r"`eos_penalty` needs `model\.eos_token_id`"):
        UnifiedLoss(V, overrides={"terms.eos_penalty": {}})
    with pytest.raises(ArgumentValueError, match="`eos_token_id` 13 is outside the vocabulary"):
        UnifiedLoss(V, eos_token_id=V)


def test_the_translation_needs_no_torch() -> None:
    code = (
        "import sys; from ava.losses import translate; print(translate({'use_focal_loss': True}).document['terms'])\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{'focal_loss': {}}\n", "")


def test_the_module_names_what_it_has() -> None:
    assert dir(ava.losses) == ["Translation", "UnifiedLoss", "create_unified_loss", "translate"]
    with pytest.raises(AttributeError, match="no attribute `UnifiedLos`"):
        ava.losses.UnifiedLos  # noqa: B018
    assert issubclass(UnifiedLoss, Loss)
    assert list(inspect.signature(UnifiedLoss.forward).parameters)[1:5] == [
        "logits", "targets", "attention_mask", "hidden_states",
    ]  # fmt: skip
    assert isinstance(UnifiedLoss(V).config, Config)


@pytest.mark.compiled
def test_compiled_it_is_one_graph_with_the_same_answer() -> None:
    torch.manual_seed(2)
    few = (
        "primary_loss_type",
        "adaptive_temperature",
        "hidden_size",
        "use_mtp",
        "shared_projection",
        "use_ngram_penalty",
    )
    keywords = {name: EVERYTHING[name] for name in few}
    compiled = UnifiedLoss(V, **keywords, overrides={"compile.enabled": True})
    eager = make(**keywords)
    eager.load_state_dict(compiled.state_dict())
    left, right = call(), call()
    totals = [compiled(**left), eager(**right)]
    torch.testing.assert_close(*totals)
    for total in totals:
        total.backward()
    for name in ("logits", "hidden_states"):
        torch.testing.assert_close(left[name].grad, right[name].grad, rtol=1e-4, atol=1e-6)
    assert compiled.get_loss_statistics() == pytest.approx(eager.get_loss_statistics())
