"""What lies just outside a call: other kinds of tensors, other devices, terms that cannot run, outputs as mappings."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch

import ava
from ava.errors import ArgumentTypeError, ArgumentValueError, AvaError
from ava.run.output import LossOutput
from ava.terms.base import HeadsTerm, Needs
from ava.terms.mtp_loss import MtpLoss
from ava.terms.rows import Rows

B, T, V, H = 2, 5, 7, 3


def build(terms: dict[str, Any] | None = None, **model: Any) -> ava.Loss:
    config = {"version": 1, "model": model, "terms": terms or {}, "compile": {"enabled": False}}
    return ava.Loss.load(config)


def call(**changes: Any) -> dict[str, Any]:
    return {"logits": torch.zeros(B, T, V), "targets": torch.zeros(B, T, dtype=torch.int64), **changes}


HEAD: dict[str, Any] = {"logits": None, "hidden_states": torch.zeros(B, T, H), "lm_head": torch.zeros(V, H)}
WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no columns": ({"logits": torch.zeros(B, T, 0)}, ["`logits`", "at least one column", f"[{B}, {T}, 0]"]),
    "logits of four dimensions": (
        {"logits": torch.zeros(1, B, T, V)},
        ["`logits`", "[B, T, V]", f"[1, {B}, {T}, {V}]"],
    ),
    "a list for logits": ({"logits": [[0.0]]}, ["`logits`", "list"]),
    "a list for targets": ({"targets": [[0]]}, ["`targets`", "integer tensor", "list"]),
    "boolean targets": ({"targets": torch.zeros(B, T, dtype=torch.bool)}, ["`targets`", "integers", "bool"]),
    "a complex mask": ({"attention_mask": torch.zeros(B, T, dtype=torch.complex64)}, ["`attention_mask`", "complex64"]),
    "a list for a mask": ({"attention_mask": [1]}, ["`attention_mask`", "list"]),
    "targets elsewhere": (
        {"targets": torch.zeros(B, T, dtype=torch.int64, device="meta")},
        ["`targets`", "should be on cpu", "is on meta"],
    ),
    "a mask elsewhere": ({"attention_mask": torch.zeros(B, T, device="meta")}, ["`attention_mask`", "meta"]),
    "boolean num_items": ({"num_items": torch.tensor(True)}, ["`num_items`", "bool"]),
    "complex num_items": ({"num_items": torch.tensor(1j)}, ["`num_items`", "complex64"]),
    "infinite num_items": ({"num_items": float("inf")}, ["`num_items`", "finite", "inf"]),
    "hidden states of one dimension": ({**HEAD, "hidden_states": torch.zeros(H)}, ["`hidden_states`", f"[{H}]"]),
    "integer hidden states": (
        {**HEAD, "hidden_states": torch.zeros(B, T, H, dtype=torch.int64)},
        ["`hidden_states`", "floating-point", "int64"],
    ),
    "an integer head": ({**HEAD, "lm_head": torch.zeros(V, H, dtype=torch.int64)}, ["`lm_head`", "floating-point"]),
    "a head of one dimension": ({**HEAD, "lm_head": torch.zeros(H)}, ["`lm_head`", "[V, H]", f"[{H}]"]),
    "a bias of another width": (
        {**HEAD, "lm_head_bias": torch.zeros(V + 1)},
        ["`lm_head_bias`", f"[{V}]", f"[{V + 1}]"],
    ),
    "the head elsewhere": ({**HEAD, "lm_head": torch.zeros(V, H, device="meta")}, ["`lm_head`", "meta"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name: str) -> None:
    changes, parts = WRONG[name]
    with pytest.raises((ArgumentValueError, ArgumentTypeError)) as error:
        build()(**call(**changes))
    assert isinstance(error.value, AvaError)
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"logits": None, "hidden_states": torch.zeros(B, T, H)}, "lm_head"),
        ({"logits": None, "lm_head": torch.zeros(V, H)}, "hidden_states"),
        ({"targets": None}, "targets"),
    ],
)
def test_a_tensor_that_is_missing_is_no_wrong_type(changes: dict[str, Any], name: str) -> None:
    with pytest.raises(ArgumentValueError, match=f"`{name}` should be .*, but is None"):
        build()(**call(**changes))


@pytest.mark.parametrize("items", [-3.0, float("nan"), float("inf"), -float("inf")])
def test_a_tensor_that_is_no_number_of_tokens_is_never_a_silent_wrong_number(items: float) -> None:
    loss = build({"z_loss": {}})
    assert loss(**call(num_items=torch.tensor(items))).isnan()
    assert loss(**call(num_items=torch.tensor(0.0))).isfinite()


@pytest.mark.parametrize("index", [-1, 4])
def test_an_expert_that_is_none_is_told_on_a_cpu(index: int) -> None:
    loss = build({"moe_balance_loss": {}})
    indices = torch.zeros(B, T, 2, dtype=torch.int64)
    indices[1, 2, 1] = index
    with pytest.raises(ArgumentValueError, match=r"`expert_indices` should be in \[0, 4\)"):
        loss(**call(gate_logits=torch.zeros(B, T, 4), expert_indices=indices))


def test_the_padded_width_is_asked_for() -> None:
    padded = build(vocab_size=V - 2, padded_vocab_size=V)
    assert padded(**call()).isfinite()
    with pytest.raises(ArgumentValueError, match=r"7 columns \(`model\.padded_vocab_size`\)"):
        padded(**call(logits=torch.zeros(B, T, V - 2)))
    with pytest.raises(ArgumentValueError, match=r"Set `model\.padded_vocab_size`"):
        build(vocab_size=V - 2)(**call())


@pytest.mark.parametrize("word", ["label", "target", "logit", "num_item", "return_detail", "hidden_state", "zzz"])
def test_unknown_keywords(word: str) -> None:
    near = {
        "label": None, "target": "targets", "logit": "logits", "num_item": "num_items",
        "return_detail": "return_detailed", "hidden_state": "hidden_states", "zzz": None,
    }[word]  # fmt: skip
    with pytest.raises(ArgumentTypeError) as error:
        build()(**call(), **{word: 1})
    assert f"`{word}`" in str(error.value)
    assert ("did you mean" in str(error.value)) is (near is not None)
    if near is not None:
        assert f"did you mean `{near}`" in str(error.value)


def test_nothing_is_counted_of_a_call_that_is_refused() -> None:
    loss = build()
    with pytest.raises(ArgumentValueError):
        loss(**call(targets=torch.zeros(B, T)))
    assert int(loss.state.micro_step) == int(loss.state.step) == 0


class Foreign(HeadsTerm):
    """A term on future-token heads that is not ``mtp_loss``."""

    name: ClassVar[str] = "foreign"
    formula: ClassVar[str] = "0"
    recommended: ClassVar[dict[str, tuple[float, float]]] = {}
    weight: float = 1.0

    def needs(self) -> Needs:
        return Needs()

    def untrained(self, vocab_size: int) -> float | None:
        return None

    def value(self, heads: Rows, main: Rows) -> torch.Tensor:
        raise NotImplementedError


def test_a_foreign_term_on_heads_is_refused_when_the_loss_is_built() -> None:
    config = ava.Config.load({"version": 1})
    terms = config.terms.model_copy(update={})
    terms.__pydantic_extra__ = {"foreign": Foreign()}
    with pytest.raises(ArgumentValueError, match=r"`foreign`.*only `mtp_loss`"):
        ava.Loss(config.model_copy(update={"terms": terms}))
    assert issubclass(MtpLoss, HeadsTerm)


def test_future_heads_as_a_list() -> None:
    loss, heads = build({"mtp_loss": {}}, vocab_size=V), torch.randn(2, B, T, V)
    torch.testing.assert_close(loss(**call(mtp_logits=list(heads))), loss(**call(mtp_logits=heads)))
    with pytest.raises(ArgumentValueError, match="`mtp_logits"):
        loss(**call(mtp_logits=[heads[0], heads[1, :, :3]]))


def test_an_output_is_a_mapping() -> None:
    out = build({"z_loss": {}})(**call(), return_detailed=True)
    assert isinstance(out, LossOutput)
    assert len(out) == len(list(out)) == len(dict(out))
    assert {"total_loss", "main_loss", "z_loss", "raw/z_loss", "metrics/tokens"} <= set(out)
    assert repr(out).startswith("LossOutput(total_loss, main_loss, z_loss")
    assert out.total_loss is out["total_loss"]
    assert "nothing" not in out
    with pytest.raises(KeyError):
        out["nothing"]
    with pytest.raises(TypeError):
        out["total_loss"] = torch.zeros(())  # type: ignore[index]


def test_what_is_logged() -> None:
    out = build({"z_loss": {}})(**call(logits=torch.zeros(B, T, V, requires_grad=True)), return_detailed=True)
    logged = out.log_dict("train/")
    assert list(logged)[:3] == ["train/total", "train/main", "train/z_loss"]
    assert {"raw/z_loss", "metrics/accuracy"} <= set(logged)
    assert not any(value.requires_grad for value in logged.values())
    assert float(logged["train/total"]) == float(out["total_loss"].detach())


@pytest.mark.parametrize("items", [0, 0.0, torch.tensor(0)])
def test_no_items_divide_by_one(items: Any) -> None:
    loss, ignored = build(), torch.full((B, T), -100)
    assert float(loss(**call(targets=ignored, num_items=items))) == 0
    assert float(loss(**call(num_items=items))) == pytest.approx(float(loss(**call(num_items=1))))


def test_one_row_of_everything() -> None:
    """``[N, V]`` logits take every tensor without a batch dimension."""
    config = {"mtp_loss": {}, "contrastive_loss": {}, "distillation_loss": {}, "router_z_loss": {}}
    loss = build(config, vocab_size=V)
    rng = torch.Generator().manual_seed(0)
    whole = {
        "logits": torch.randn(1, T, V, generator=rng),
        "targets": torch.tensor([[1, 1, 2, 2, 1]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1, 0]]),
        "hidden_states": torch.randn(1, T, H, generator=rng),
        "mtp_logits": torch.randn(2, 1, T, V, generator=rng),
        "teacher_logits": torch.randn(1, T, V, generator=rng),
        "gate_logits": torch.randn(1, T, 4, generator=rng),
    }
    flat = {name: value.squeeze(1 if name == "mtp_logits" else 0) for name, value in whole.items()}
    left, right = loss(**whole, return_detailed=True), loss(**flat, return_detailed=True)
    for name, value in left.items():
        torch.testing.assert_close(right[name], value, rtol=0, atol=0)
