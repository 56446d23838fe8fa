"""The linear engine: the model never makes its logits, and the loss does the head, whatever it is wrapped in."""

from __future__ import annotations

import pytest

pytest.importorskip("transformers")

import torch
from transformers import CohereConfig, CohereForCausalLM, Gemma2Config, Gemma2ForCausalLM, GraniteConfig
from transformers import GraniteForCausalLM as Granite

from ava import Loss
from ava.integrations.huggingface import compute_loss_func, model_fields
from tests.integrations.hf import EAGER, VOCAB, collate, gpt2, loss_of, rows

BATCH = collate(rows(6))
READ = {name: value for name, value in BATCH.items() if name != "labels"}
SMALL = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 1,
}


def both(model, loss=None):
    """Return the loss and the gradients of the two engines."""
    found = []
    for engine in ("logits", "linear"):
        used = loss or loss_of("fast_prototype")
        compute = compute_loss_func(used, model=model, engine=engine)
        model.zero_grad()
        value = compute(model(**READ), BATCH["labels"], num_items_in_batch=40)
        value.backward()
        grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        found.append((value.item(), grads))
    return found


def assert_equal(found) -> None:
    (value, grads), (other, theirs) = found
    assert other == pytest.approx(value, abs=1e-5)
    assert grads.keys() == theirs.keys()
    for name, grad in grads.items():
        assert torch.allclose(theirs[name], grad, atol=1e-5), name


def test_the_model_makes_one_position_of_logits() -> None:
    model, widths = gpt2(), []
    model.lm_head.register_forward_hook(lambda module, args, output: widths.append(output.shape[1]))
    compute = compute_loss_func(loss_of("standard"), model=model, engine="linear")
    value = compute(model(**READ), BATCH["labels"], num_items_in_batch=40)
    again = compute_loss_func(loss_of("standard"))(gpt2()(**READ), BATCH["labels"], num_items_in_batch=40)
    assert widths == [1]
    assert value.item() == pytest.approx(again.item(), abs=2e-2)  # without the model, prompts are no context
    model.eval()
    compute(model(**READ), BATCH["labels"])
    assert widths == [1, BATCH["labels"].shape[1]], "evaluation keeps the logits, which metrics may want"


def test_engines_agree() -> None:
    assert_equal(both(gpt2()))
    assert_equal(both(gpt2(tie_word_embeddings=False)))


def test_softcap_and_scale() -> None:
    torch.manual_seed(0)
    capped = Gemma2ForCausalLM(Gemma2Config(**SMALL, final_logit_softcapping=0.5, attn_implementation="eager"))
    scaled = CohereForCausalLM(CohereConfig(**SMALL, logit_scale=0.25))
    divided = Granite(GraniteConfig(**SMALL, logits_scaling=4.0))
    for model, field in ((capped, "logit_softcap"), (scaled, "logit_scale"), (divided, "logit_scale")):
        torch.nn.init.normal_(model.get_output_embeddings().weight, std=0.5)
        with pytest.raises(ValueError, match=rf"{field}.*model_fields\(model\)"):
            compute_loss_func(loss_of("fast_prototype"), model=model, engine="linear")
        loss = Loss.load("fast_prototype", overrides=EAGER, **model_fields(model))
        assert_equal(both(model, loss))


def test_a_model_that_does_more_than_its_head() -> None:
    class Louder(type(gpt2())):
        def forward(self, *args, logits_to_keep=0, **kwargs):
            output = super().forward(*args, logits_to_keep=logits_to_keep, **kwargs)
            output.logits = output.logits * 3
            return output

    model = Louder(gpt2().config)
    compute = compute_loss_func(loss_of("fast_prototype"), model=model, engine="linear")
    with pytest.raises(ValueError, match="not its head on its last hidden states"):
        compute(model(**READ), BATCH["labels"])


def lora(**config):
    peft = pytest.importorskip("peft")
    settings = {"r": 2, "target_modules": ["lm_head", "c_attn"], "lora_dropout": 0.0, **config}
    model = gpt2(tie_word_embeddings=False)
    wrapped = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", fan_in_fan_out=False, **settings))
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return wrapped


@pytest.mark.filterwarnings("ignore")
def test_lora_on_the_head_is_respected() -> None:
    model = lora()
    found = both(model)
    assert_equal(found)
    assert any("lm_head.lora_B" in name and grad.abs().max() > 0 for name, grad in found[1][1].items())
    assert all("lora_" in name for name in found[1][1])
    with model.disable_adapter(), torch.no_grad():
        plain = compute_loss_func(loss_of("fast_prototype"))(model(**READ), BATCH["labels"]).item()
    assert plain != pytest.approx(found[0][0] * 40 / int((BATCH["labels"][:, 1:] != -100).sum()), abs=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_a_head_that_peft_saves_whole() -> None:
    found = both(lora(target_modules=["c_attn"], modules_to_save=["lm_head"]))
    assert_equal(found)
    assert any("lm_head.modules_to_save" in name for name in found[1][1])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("config", "message"), [({"lora_dropout": 0.1}, "dropout"), ({"use_dora": True}, "variant")])
def test_heads_that_are_refused(config, message) -> None:
    model = lora(**config)
    compute = compute_loss_func(loss_of("fast_prototype"), model=model, engine="linear")
    with pytest.raises(ValueError, match=rf"{message}.*engine at `logits`"):
        compute(model(**READ), BATCH["labels"])


def test_a_model_has_one_loss() -> None:
    model = gpt2()
    first = compute_loss_func(loss_of("fast_prototype"), model=model, engine="linear")
    second = compute_loss_func(loss_of("fast_prototype"), model=model)
    outputs = model(**READ)
    assert outputs.logits.shape[1] == BATCH["labels"].shape[1], "the first one no longer skips them"
    second(outputs, BATCH["labels"])
    with pytest.raises(ValueError, match="given to another loss since"):
        first(outputs, BATCH["labels"])


def test_models_without_a_way_to_skip_logits() -> None:
    with pytest.raises(ValueError, match="logits_to_keep"):
        compute_loss_func(loss_of("fast_prototype"), model=torch.nn.Linear(2, 2), engine="linear")
