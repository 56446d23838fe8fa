"""What a wrong call is told: the argument, what it should be, what it was, before any kernel runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import ava
from ava.errors import ArgumentTypeError, ArgumentValueError, AvaError, TargetIndexError

B, T, V = 2, 5, 11


def build(terms: dict[str, Any] | None = None, **sections: Any) -> ava.Loss:
    model = sections.pop("model", {"vocab_size": V, "eos_token_id": 0})
    config = {"version": 1, "model": model, "terms": terms or {}, "compile": {"enabled": False}, **sections}
    return ava.Loss.load(config)


def logits() -> torch.Tensor:
    return torch.randn(B, T, V)


def targets() -> torch.Tensor:
    return torch.randint(1, V, (B, T))


WRONG_VALUES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no logits": ({"logits": None}, ["`logits`", "None"]),
    "no targets": ({"targets": None}, ["`targets`", "None"]),
    "rank": ({"logits": torch.randn(V)}, ["`logits`", "[B, T, V]", f"[{V}]"]),
    "width": ({"logits": torch.randn(B, T, V + 1)}, ["`logits`", f"{V} columns", f"[{B}, {T}, {V + 1}]"]),
    "integer logits": ({"logits": torch.ones(B, T, V, dtype=torch.long)}, ["`logits`", "floating-point", "int64"]),
    "float targets": ({"targets": torch.ones(B, T)}, ["`targets`", "integers", "float32"]),
    "targets' shape": ({"targets": torch.ones(B, T + 1, dtype=torch.long)}, ["`targets`", f"[{B}, {T}]"]),
    "mask's shape": ({"attention_mask": torch.ones(B, T + 1)}, ["`attention_mask`", f"[{B}, {T}]"]),
    "input_ids' dtype": ({"input_ids": torch.ones(B, T)}, ["`input_ids`", "integers"]),
    "segment_ids' shape": ({"segment_ids": torch.ones(T, dtype=torch.long)}, ["`segment_ids`", f"[{B}, {T}]"]),
    "num_items vector": ({"num_items": torch.ones(2)}, ["`num_items`", "0-d"]),
    "num_items negative": ({"num_items": -1}, ["`num_items`", "-1"]),
    "num_items nan": ({"num_items": float("nan")}, ["`num_items`", "nan"]),
    "both": (
        {"hidden_states": torch.randn(B, T, 3), "lm_head": torch.randn(V, 3)},
        ["`logits`", "`hidden_states`", "`lm_head`"],
    ),
    "head alone": ({"logits": None, "lm_head": torch.randn(V, 3)}, ["`hidden_states`"]),
    "hidden alone": ({"logits": None, "hidden_states": torch.randn(B, T, 3)}, ["`lm_head`"]),
    "head's width": (
        {"logits": None, "hidden_states": torch.randn(B, T, 3), "lm_head": torch.randn(V, 4)},
        ["`lm_head`", "H = 3", f"[{V}, 4]"],
    ),
}


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_a_wrong_value_names_the_argument_and_both_shapes(name: str) -> None:
    changes, parts = WRONG_VALUES[name]
    call = {"logits": logits(), "targets": targets(), **changes}
    with pytest.raises((ArgumentValueError, ArgumentTypeError)) as error:
        build()(**call)
    assert isinstance(error.value, AvaError)
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize("value", ["3", True, [1]])
def test_num_items_of_a_wrong_type(value: object) -> None:
    with pytest.raises(ArgumentTypeError, match="`num_items`"):
        build()(logits(), targets(), num_items=value)


def test_an_unknown_keyword_gets_the_nearest_name() -> None:
    with pytest.raises(ArgumentTypeError, match="did you mean `attention_mask`"):
        build()(logits(), targets(), atention_mask=torch.ones(B, T))
    assert issubclass(ArgumentTypeError, TypeError)
    assert issubclass(ArgumentValueError, ValueError)


MISSING = {
    "mtp_loss": "hidden_states",
    "contrastive_loss": "hidden_states",
    "moe_balance_loss": "gate_logits",
    "router_z_loss": "gate_logits",
    "expert_diversity_loss": "expert_outputs",
    "distillation_loss": "teacher_logits",
}


@pytest.mark.parametrize("term", MISSING)
def test_a_term_without_its_tensor_says_so(term: str) -> None:
    with pytest.raises(ArgumentValueError) as error:
        build({term: {}})(logits(), targets())
    assert f"`{MISSING[term]}`" in str(error.value)
    assert f"`{term}`" in str(error.value)


@pytest.mark.parametrize("term", MISSING)
def test_a_term_may_be_skipped_and_says_so_once(term: str) -> None:
    loss = build({term: {"if_missing": "skip"}})
    x, y = logits(), targets()
    with pytest.warns(UserWarning, match=f"`{term}` is left out"):
        out = loss(x, y, return_detailed=True)
    assert term not in out
    assert f"raw/{term}" not in out
    torch.testing.assert_close(out["total_loss"], loss(x, y))  # and no second warning, which would be an error here


def test_a_field_that_a_term_needs_is_asked_for_when_the_loss_is_built() -> None:
    with pytest.raises(ArgumentValueError, match=r"`eos_penalty` needs `model\.eos_token_id`"):
        ava.Loss.load({"version": 1, "terms": {"eos_penalty": {}}})
    with pytest.raises(ArgumentValueError, match=r"`model\.vocab_size`"):
        ava.Loss.load({"version": 1, "model": {"hidden_size": 4}, "terms": {"mtp_loss": {}}})


def test_a_loss_is_built_from_a_config_only() -> None:
    with pytest.raises(ArgumentTypeError, match=r"Loss\.load"):
        ava.Loss({"version": 1})  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [V, V + 100, -1, -101])
def test_a_target_outside_the_vocabulary_is_never_a_silent_number(wrong: int) -> None:
    x, y = logits().requires_grad_(), targets()
    y[1, 2] = wrong
    loss = build()(x, y)
    assert not loss.isfinite()
    with pytest.raises(TargetIndexError) as error:
        build(compile={"enabled": False, "checks": "full"})(x, y)
    assert isinstance(error.value, IndexError)
    for part in (str(wrong), "row 1", "position 2", f"[0, {V})"):
        assert part in str(error.value)


def test_an_ignored_target_may_be_anything() -> None:
    x, y = logits(), targets()
    y[0, 0] = -100
    assert build()(x, y).isfinite()
    y[0, 1] = V + 3
    mask = torch.ones(B, T)
    mask[0, 1] = 0
    assert build(compile={"enabled": False, "checks": "full"})(x, y, attention_mask=mask).isfinite()


EXPERTS = {
    "leading dimensions": ({"gate_logits": torch.randn(B, T + 1, 4)}, ["`gate_logits`", "B * T = 10"]),
    "number of experts": ({"gate_logits": torch.randn(B, T, 5)}, ["`gate_logits`", "4 experts"]),
    "layers of several sizes": (
        {"gate_logits": [torch.randn(B, T, 4), torch.randn(B, T, 5)]},
        ["`gate_logits`", "one E"],
    ),
    "mismatched layers": (
        {"gate_logits": [torch.randn(B, T, 4)] * 2, "expert_indices": [torch.zeros(B, T, 2, dtype=torch.long)]},
        ["`expert_indices`", "2 layers", "has 1"],
    ),
    "float indices": ({"gate_logits": torch.randn(B, T, 4), "expert_indices": torch.rand(B, T, 2)}, ["integers"]),
    "no layer": ({"gate_logits": []}, ["`gate_logits`", "empty"]),
}


@pytest.mark.parametrize("name", EXPERTS)
def test_wrong_expert_tensors(name: str) -> None:
    changes, parts = EXPERTS[name]
    loss = build({"moe_balance_loss": {}}, model={"num_experts": 4})
    with pytest.raises(ArgumentValueError) as error:
        loss(logits(), targets(), **changes)
    for part in parts:
        assert part in str(error.value)


def test_the_number_of_layers_is_held_between_calls() -> None:
    loss = build({"moe_balance_loss": {}})
    loss(logits(), targets(), gate_logits=[torch.randn(B, T, 4)] * 2)
    with pytest.raises(ArgumentValueError, match="2 layers with 4 experts as in earlier calls"):
        loss(logits(), targets(), gate_logits=torch.randn(B, T, 4))


def test_wrong_tensors_of_the_other_terms() -> None:
    heads = build({"mtp_loss": {}}, model={"vocab_size": V, "hidden_size": 6})
    with pytest.raises(ArgumentValueError, match=r"H = 6 \(`model\.hidden_size`\)"):
        heads(logits(), targets(), hidden_states=torch.randn(B, T, 7))
    with pytest.raises(ArgumentValueError, match=f"{V} columns like `logits`"):
        heads(logits(), targets(), mtp_logits=torch.randn(3, B, T, V + 2))
    with pytest.raises(ArgumentValueError, match="one head or more"):
        heads(logits(), targets(), mtp_logits=torch.randn(0, B, T, V))
    with pytest.raises(ArgumentValueError, match=r"`mtp_logits\[1\]`"):
        heads(logits(), targets(), mtp_logits=[torch.randn(B, T, V), torch.randn(B, T + 1, V)])
    with pytest.raises(ArgumentValueError, match="`lm_head` is missing"):
        heads(logits(), targets(), mtp_hidden_states=torch.randn(3, B, T, 6))
    with pytest.raises(ArgumentValueError, match=r"`mtp_loss` needs `model\.hidden_size`"):
        build({"mtp_loss": {}})(logits(), targets(), hidden_states=torch.randn(B, T, 7))
    with pytest.raises(ArgumentValueError, match="`teacher_logits` should have"):
        build({"distillation_loss": {}})(logits(), targets(), teacher_logits=torch.randn(B, T, 3))
    full = build({"moe_balance_loss": {}}, compile={"enabled": False, "checks": "full"})
    with pytest.raises(ArgumentValueError, match=r"`expert_indices` should be in \[0, 4\)"):
        full(logits(), targets(), gate_logits=torch.randn(B, T, 4), expert_indices=torch.full((B, T, 2), 4))
    with pytest.raises(ArgumentValueError, match="`expert_outputs` should be"):
        build({"expert_diversity_loss": {}})(logits(), targets(), expert_outputs=torch.randn(4, B, T + 2, 3))


def test_a_bare_loss_in_a_trainer_says_what_to_pass_instead() -> None:
    loss_fn = ava.Loss.load({"version": 1}, overrides={"compile.enabled": False})
    with pytest.raises(ArgumentTypeError, match=r"pass `ava\.integrations\.huggingface\.compute_loss_func\(loss\)`"):
        loss_fn(torch.zeros(1, 2, 4), torch.zeros(1, 2, dtype=torch.int64), num_items_in_batch=2)
