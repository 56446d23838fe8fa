"""The two functions called by hand: alignment, counts, packed rows, routers, hidden states, and each misuse."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

import pytest

pytest.importorskip("transformers")

import torch
from torch.nn.functional import cross_entropy

from ava import Loss
from ava.errors import AvaError
from ava.integrations.huggingface import as_loss_function, compute_loss_func, model_fields
from tests.integrations.hf import EOS, PAD, VOCAB, WIDTH, collate, gpt2, loss_of, mixtral, rows

BATCH = collate(rows(6))
SHAPE = tuple(BATCH["labels"].shape)
PLAIN = {"version": 1}


def inputs(batch=BATCH, **more):
    return {name: value for name, value in batch.items() if name != "labels"} | more


def logits_for(shape=SHAPE):
    return torch.randn(*shape, VOCAB, generator=torch.Generator().manual_seed(1), requires_grad=True)


def expected(logits, labels=BATCH["labels"]):
    return cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:])


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("kind", [dict, SimpleNamespace, tuple])
def test_labels_are_unshifted_whatever_the_file_says(shift: bool, kind) -> None:
    loss, logits = loss_of(PLAIN, {"targets.shift": shift}), logits_for()
    outputs = (logits,) if kind is tuple else kind(logits=logits)
    value = compute_loss_func(loss)(outputs, BATCH["labels"])
    assert value.item() == pytest.approx(expected(logits).item(), abs=1e-6)
    assert as_loss_function(loss)(logits, BATCH["labels"], VOCAB).item() == pytest.approx(value.item(), abs=1e-6)
    assert loss.config.targets.shift is shift


@pytest.mark.parametrize("items", [50, 50.0, torch.tensor(50), torch.tensor([[50], [50]])])
def test_counts_of_any_kind(items) -> None:
    logits = logits_for()
    tokens = int((BATCH["labels"][:, 1:] != -100).sum())
    value = compute_loss_func(loss_of(PLAIN))(SimpleNamespace(logits=logits), BATCH["labels"], num_items_in_batch=items)
    assert value.item() == pytest.approx(expected(logits).item() * tokens / 50, rel=1e-5)


def test_shifted_labels_of_the_batch() -> None:
    """`shift_labels` are aligned with the logits; what the penalties see of the row stays the same."""
    model, loss = gpt2(), loss_of("standard")
    compute = compute_loss_func(loss, model=model)
    ahead = torch.cat([BATCH["labels"][:, 1:], torch.full((SHAPE[0], 1), -100)], 1)
    plain = compute(model(**inputs()), BATCH["labels"])
    assert compute(model(**inputs(shift_labels=ahead)), None).item() == pytest.approx(plain.item(), abs=1e-6)
    logits = model(**inputs()).logits
    function = as_loss_function(loss_of(PLAIN))
    by_keyword = function(logits=logits, labels=None, vocab_size=VOCAB, shift_labels=ahead, num_items_in_batch=10)
    by_place = function(logits, BATCH["labels"], VOCAB, 10, -100)
    assert by_keyword.item() == pytest.approx(by_place.item(), abs=1e-6)


def test_the_prompt_is_context() -> None:
    """A token whose label is ignored is still what the model read before it repeated it."""
    model = gpt2()
    ids = torch.tensor([[5, 6, 7, 7, 8, 9]])
    labels = torch.tensor([[-100, -100, -100, -100, 8, 9]])
    config = {"version": 1, "terms": {"immediate_repetition_penalty": {}}}
    seen = compute_loss_func(loss_of(config), model=model)(model(input_ids=ids), labels)
    plain = compute_loss_func(loss_of(PLAIN), model=model)(model(input_ids=ids), labels)
    # positions 3 and 4 predict 8 and 9, and repeating 7 and 8 would be a second in a row
    probability = model(input_ids=ids).logits[0].softmax(1)
    repeats = -(1 - torch.stack([probability[3, 7], probability[4, 8]])).log()
    assert (seen - plain).item() == pytest.approx(0.5 * repeats.mean().item(), rel=1e-4)


@pytest.mark.parametrize("told_by", ["position_ids", "cu_seq_lens_q", "seq_idx"])
def test_packed_rows_are_the_rows(told_by: str) -> None:
    """Rows packed into one, as padding-free collators do, have the padded batch's loss, penalties included."""
    data = [{name: row[name][: -1 - i % 2] for name in row} for i, row in enumerate(rows(12)) if len(row["labels"]) > 6]
    padded, loss = collate(data), loss_of("standard")
    logits = {tuple(row["input_ids"]): logits_for((1, len(row["input_ids"])))[0] for row in data}
    width = padded["labels"].shape[1]
    filled = [logits[tuple(row["input_ids"])] for row in data]
    block = torch.stack([torch.cat([one, one.new_zeros(width - len(one), VOCAB)]) for one in filled])

    lengths = [len(row["input_ids"]) for row in data]
    packed = {
        "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
        "cu_seq_lens_q": torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32),
        "seq_idx": torch.cat([torch.full((length,), i) for i, length in enumerate(lengths)])[None],
    }
    ids = torch.tensor([[token for row in data for token in row["input_ids"]]])
    labels = torch.tensor([[label for row in data for label in [-100, *row["labels"][1:]]]])

    def value(logits, labels, **read):
        stand_in = Stub(logits)
        compute = compute_loss_func(loss, model=stand_in)
        return compute(stand_in(**read), labels, num_items_in_batch=30).item()

    one = value(block, padded["labels"], input_ids=padded["input_ids"], attention_mask=padded["attention_mask"])
    other = value(torch.cat(filled)[None], labels, input_ids=ids, **{told_by: packed[told_by]})
    assert other == pytest.approx(one, rel=1e-6)
    assert value(torch.cat(filled)[None], labels, input_ids=ids) != pytest.approx(one, rel=1e-4)


class Stub(torch.nn.Module):
    """A model that answers the logits it was made with."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, input_ids=None, attention_mask=None, **_):
        return SimpleNamespace(logits=self.logits)


def test_router_logits_are_found_and_needed() -> None:
    model, loss = mixtral(), loss_of("moe", num_experts=8)
    for compute in (compute_loss_func(loss), compute_loss_func(loss, model=model)):
        with pytest.raises(ValueError, match=r"output_router_logits = True"):
            compute(model(**inputs()), BATCH["labels"])
    model.config.output_router_logits = True
    outputs = model(**inputs())
    loss = loss_of("moe", num_experts=8)
    value = compute_loss_func(loss)(outputs, BATCH["labels"])
    gate = model.model.layers[0].mlp.gate.weight
    assert torch.autograd.grad(value, gate, retain_graph=True)[0].abs().max() > 0
    with_mask = compute_loss_func(loss, model=model)(model(**inputs()), BATCH["labels"])
    assert with_mask.item() != value.item(), "padding is not routed, which only the mask tells"


def test_router_logits_reach_a_loss_function() -> None:
    model = mixtral(output_router_logits=True)
    loss = loss_of("moe", num_experts=8)
    with pytest.raises(ValueError, match=r"router_aux_loss_coef = 0"):
        as_loss_function(loss, model=model)
    model.router_aux_loss_coef = 0.0
    model.loss_function = as_loss_function(loss, model=model)
    by_function = model(**BATCH).loss
    del model._loss_function
    by_trainer = compute_loss_func(loss, model=model)(model(**inputs()), BATCH["labels"])
    assert by_function.item() == pytest.approx(by_trainer.item(), abs=1e-6)
    model.loss_function = as_loss_function(loss)
    with pytest.raises(ValueError, match=r"as_loss_function\(loss, model=model\)"):
        model(**BATCH)


@pytest.mark.parametrize("make", [gpt2, mixtral])
@pytest.mark.parametrize("heads", ["linear", "tied"])
def test_hidden_states_are_what_the_head_reads(make, heads: str) -> None:
    torch.manual_seed(0)
    model = make()
    config = {"version": 1, "terms": {"mtp_loss": {"heads": heads}, "contrastive_loss": {}}}
    loss = loss_of(config, hidden_size=WIDTH)
    value = compute_loss_func(loss, model=model)(model(**inputs()), BATCH["labels"])
    inner = model.model if make is mixtral else model.transformer
    hidden = inner(**inputs()).last_hidden_state
    assert torch.allclose(model.lm_head(hidden), model(**inputs()).logits, atol=1e-6)
    reference = Loss(loss.config.model_copy(update={"targets": type(loss.config.targets)(shift=True)}))
    reference.load_state_dict(loss.state_dict(), strict=False)
    head = {"lm_head": model.lm_head.weight} if heads == "tied" else {}
    again = reference(
        model(**inputs()).logits,
        BATCH["labels"],
        input_ids=BATCH["input_ids"],
        attention_mask=BATCH["attention_mask"],
        hidden_states=hidden,
        **head,
    )
    assert value.item() == pytest.approx(again.item(), abs=1e-6)
    model.loss_function = as_loss_function(loss, model=model)
    assert model(**BATCH).loss.item() == pytest.approx(value.item(), abs=1e-6)


def test_hidden_states_without_the_model() -> None:
    loss = loss_of({"version": 1, "terms": {"contrastive_loss": {}}})
    model = gpt2()
    with pytest.raises(ValueError, match="output_hidden_states = True"):
        compute_loss_func(loss)(model(**inputs()), BATCH["labels"])
    outputs = model(**inputs(), output_hidden_states=True)
    value = compute_loss_func(loss)(outputs, BATCH["labels"])
    with_model = compute_loss_func(loss, model=model)(model(**inputs()), BATCH["labels"])
    assert value.item() == pytest.approx(with_model.item(), abs=1e-6)
    with pytest.raises(ValueError, match=r"as_loss_function\(loss, model=model\)"):
        as_loss_function(loss)(outputs.logits, BATCH["labels"])


def test_nothing_of_a_batch_is_kept() -> None:
    model = gpt2()
    compute = compute_loss_func(loss_of({"version": 1, "terms": {"contrastive_loss": {}}}), model=model)
    ids = BATCH["input_ids"].clone()
    kept = weakref.ref(ids)
    compute(model(input_ids=ids), BATCH["labels"]).backward()
    del ids
    gc.collect()
    assert kept() is None
    model(**BATCH)  # a forward with labels is not one that the trainer asks a loss for
    assert compute.watch.read == {}
    assert compute.watch.hidden is None


def test_calls_without_gradients_are_not_observed() -> None:
    model, loss = gpt2(), loss_of("standard")
    compute = compute_loss_func(loss, model=model)
    with torch.no_grad():
        compute(model(**inputs()), BATCH["labels"])
    compute(model.eval()(**inputs()), BATCH["labels"])
    assert int(loss.state.step) == 0
    compute(model.train()(**inputs()), BATCH["labels"], num_items_in_batch=10)
    assert int(loss.state.step) == 1
    assert loss.training


@pytest.mark.parametrize("engine", ["logits", "linear"])
def test_bfloat16_models(engine: str) -> None:
    plain = compute_loss_func(loss_of("standard"), model=(model := gpt2()))(model(**inputs()), BATCH["labels"])
    model = gpt2().to(torch.bfloat16)
    compute = compute_loss_func(loss_of("standard"), model=model, engine=engine)
    value = compute(model(**inputs()), BATCH["labels"])
    value.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(plain.item(), rel=1e-2)
    assert model.lm_head.weight.grad.dtype == torch.bfloat16
    assert model.lm_head.weight.grad.abs().max() > 0


def test_shifted_twice() -> None:
    model, loss = gpt2(), loss_of(PLAIN)
    compute = compute_loss_func(loss, model=model)
    outputs = model(**inputs())
    with pytest.raises(ValueError, match="logits and labels are already shifted"):
        compute(SimpleNamespace(logits=outputs.logits[:, :-1]), BATCH["labels"][:, 1:])
    with pytest.raises(ValueError, match="logits are already shifted"):
        compute_loss_func(loss)(SimpleNamespace(logits=logits_for()[:, :-1]), BATCH["labels"])
    ids = BATCH["input_ids"]
    ahead = torch.cat([ids[:, 1:], ids[:, :1]], 1)
    with pytest.raises(ValueError, match=r"`labels` are already shifted.*`shift_labels`"):
        compute(model(input_ids=ids), ahead)
    compute_loss_func(loss, model=model)(model(input_ids=ids), ids)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compute_loss_func("standard"), r"`ava.Loss`, but is str"),
        (lambda: as_loss_function(None), r"`ava.Loss`, but is NoneType"),
        (lambda: compute_loss_func(loss_of(PLAIN), model=3), "`model` should be the model"),
        (lambda: compute_loss_func(loss_of(PLAIN), engine="linear"), "needs the model"),
        (lambda: compute_loss_func(loss_of(PLAIN), engine="fused"), "`logits` or `linear`"),
        (lambda: compute_loss_func(loss_of(PLAIN))(SimpleNamespace(), BATCH["labels"]), "should hold `logits`"),
        (lambda: compute_loss_func(loss_of(PLAIN))({"logits": logits_for()}, None), "`labels` should be"),
        (lambda: compute_loss_func(loss_of(PLAIN))({"logits": logits_for()}, BATCH["labels"][:3]), r"\[6, "),
        (lambda: as_loss_function(loss_of(PLAIN))(logits_for(), BATCH["labels"], VOCAB, None, 0), "`ignore_index`"),
        (
            lambda: compute_loss_func(loss_of(PLAIN, {"reduction.gradient_accumulation_steps": 4}))(
                {"logits": logits_for()}, BATCH["labels"]
            ),
            "`num_items_in_batch` is missing.*4 times too large",
        ),
        (
            lambda: compute_loss_func(loss_of(PLAIN), model=gpt2())({"logits": logits_for()}, BATCH["labels"]),
            r"was not called.*install\(trainer, loss\)",
        ),
    ],
)
def test_misuse(call, message) -> None:
    with pytest.raises(AvaError, match=message):
        call()


def test_an_encoder_decoder_is_refused() -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    model = T5ForConditionalGeneration(
        T5Config(vocab_size=VOCAB, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=PAD)
    )
    with pytest.raises(ValueError, match="decoder-only"):
        compute_loss_func(loss_of(PLAIN), model=model)


def test_own_parameters_that_nothing_trains() -> None:
    model = gpt2()
    loss = loss_of({"version": 1, "terms": {"mtp_loss": {}}}, hidden_size=WIDTH)
    compute = compute_loss_func(loss, model=model)
    with pytest.warns(UserWarning, match=r"LossCallback\(loss\)"):
        compute(model(**inputs()), BATCH["labels"], num_items_in_batch=10)


def test_fields_of_models() -> None:
    assert model_fields(gpt2()) == {
        "vocab_size": VOCAB,
        "hidden_size": WIDTH,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
    }
    assert model_fields(mixtral())["num_experts"] == 8
    assert model_fields(mixtral())["top_k"] == 2
    model = gpt2()
    model.resize_token_embeddings(VOCAB, pad_to_multiple_of=48)
    model.config.vocab_size = VOCAB
    assert (model_fields(model)["vocab_size"], model_fields(model)["padded_vocab_size"]) == (VOCAB, 96)
    loss = Loss.load("standard", **model_fields(gpt2()))
    assert (loss.config.model.vocab_size, loss.config.model.eos_token_id) == (VOCAB, EOS)
