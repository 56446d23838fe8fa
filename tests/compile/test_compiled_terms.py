"""Every term in one graph, and what Inductor makes of the extremes: the same numbers and gradients as eager ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ava import Loss
from ava.config.roster import ROSTER
from tests.compile.test_compiled import CONFIG
from tests.laws.table import floats
from tests.reference import samples, total
from tests.reference.samples import Sample

pytestmark = pytest.mark.compiled

VOCAB = CONFIG["model"]["vocab_size"]
ALL: dict[str, Any] = {
    **{name: {} for name in ROSTER},
    **CONFIG["terms"],
    "mtp_loss": {"heads": "shared", "num_future_tokens": 2, "weighting": "adaptive"},
}


def everything(seed: int = 0, **options: Any) -> Sample:
    shape: dict[str, Any] = {"vocab": VOCAB, "eos": 0, "packed": "eos", "padding": "right", "length": 12}
    given = {"hidden": 6, "experts": 4, "layers": 2, "teacher": True}
    return samples.sample(seed, **{**shape, **given, **options})


def with_logits(change: Callable[[Tensor, Sample], Tensor]) -> Sample:
    sample = everything(1)
    return Sample({**sample.inputs, "logits": change(sample.inputs["logits"], sample)}, sample.model)


def raised(gap: float) -> Callable[[Tensor, Sample], Tensor]:
    """One column of each row, mostly the context token, far above or below the others."""

    def change(logits: Tensor, sample: Sample) -> Tensor:
        context = torch.roll(sample.inputs["targets"], 1, 1).clamp(0)
        return logits.scatter(2, context[..., None], gap)

    return change


def on_rows(sample: Sample) -> Sample:
    """The call without the tensors of terms that are not on rows of logits."""
    return Sample(sample.only("logits", "targets", "attention_mask"), sample.model)


def spoiled(logits: Tensor, sample: Sample) -> Tensor:
    ignored = (sample.inputs["targets"] == -100) | (sample.inputs["attention_mask"] == 0)
    return logits.masked_fill(ignored[..., None], torch.nan)


def impossible(logits: Tensor, sample: Sample) -> Tensor:
    """Columns of the largest negative number that label smoothing allows: a fully masked token in float32."""
    return logits.masked_fill(torch.arange(VOCAB) == 7, -1e30)


CALLS: dict[str, Callable[[], Sample]] = {
    "ordinary": everything,
    "more rows": lambda: everything(2, batch=4),
    "shorter": lambda: everything(3, length=7),
    "peaked": lambda: everything(4, kind="peaked"),
    "certain": lambda: everything(5, kind="certain"),
    "a gap of 60": lambda: with_logits(raised(60.0)),
    "a gap of -60": lambda: with_logits(raised(-60.0)),
    "a gap of 1000": lambda: with_logits(raised(1e3)),
    "not a number where ignored": lambda: with_logits(spoiled),
    "an impossible column": lambda: with_logits(impossible),
    "nothing valid": lambda: samples.ignore_all(everything(6)),
    "after all of these": everything,
}


def twice(config: dict[str, Any]) -> tuple[Loss, Loss]:
    """One loss, compiled and not, with the same parameters."""
    compiled, eager = Loss.load(config), Loss.load(config, overrides={"compile.enabled": False})
    rng = samples.generator(0)
    with torch.no_grad():
        for parameter in eager.parameters():
            parameter.normal_(std=0.3, generator=rng)
    compiled.load_state_dict(eager.state_dict())
    return compiled, eager


def run(loss: Loss, sample: Sample, detailed: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Every value, and the gradient of every input and parameter."""
    inputs = sample.leaves(torch.float32).inputs
    out = loss(**inputs, return_detailed=True) if detailed else {"total_loss": loss(**inputs)}
    leaves = {**dict(floats(inputs)), **dict(loss.named_parameters())}
    found = torch.autograd.grad(out["total_loss"], list(leaves.values()), allow_unused=True)
    return dict(out), {name: g for name, g in zip(leaves, found, strict=True) if g is not None}


def hold(pair: tuple[Loss, Loss], sample: Sample, detailed: bool) -> None:
    """Both answer the same, and remember the same."""
    (values, gradients), (expected, expected_gradients) = (run(loss, sample, detailed) for loss in pair)
    states = [loss.state.state_dict() for loss in pair]
    for found, wanted, tolerance in (
        (values, expected, {"rtol": 1e-5, "atol": 1e-6}),
        (gradients, expected_gradients, {"rtol": 2e-5, "atol": 2e-6}),
        (*states, {"rtol": 1e-6, "atol": 1e-9}),
    ):
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            torch.testing.assert_close(found[key], value, **tolerance, msg=lambda text, key=key: f"{key}: {text}")


def built() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


@pytest.fixture(scope="module")
def rows() -> tuple[Loss, Loss]:
    """The graph of ``test_compiled``, under Inductor: a plan's graph is shared by all losses of the process."""
    return twice(CONFIG)


@pytest.mark.parametrize("name", CALLS)
def test_extremes_under_inductor(rows: tuple[Loss, Loss], name: str) -> None:
    before = built()
    hold(rows, on_rows(CALLS[name]()), detailed=False)
    assert built() - before <= (1 if name == "ordinary" else 0), "one graph serves every call"


def test_a_gap_of_10000_under_inductor(rows: tuple[Loss, Loss]) -> None:
    """At τ = 1 no product rounds: there the two agree as closely as anywhere, at any gap."""
    before = [loss.state.temperature.clone() for loss in rows]
    try:
        for loss in rows:
            loss.state.temperature.fill_(1.0)
        hold(rows, on_rows(with_logits(raised(1e4))), detailed=False)
    finally:
        for loss, temperature in zip(rows, before, strict=True):
            loss.state.temperature.copy_(temperature)


ACCURATE: dict[str, list[Callable[[], Sample]]] = {
    **{
        kind: [lambda kind=kind, seed=seed: everything(seed, kind=kind) for seed in range(9, 19)]
        for kind in ("random", "peaked", "repeating")
    },
    # at τ = 1.2 what a logit over τ rounds to is 0.0005 wide here: the two differ, and neither is the right one
    "a gap of 10000": [lambda: with_logits(raised(1e4))],
}


@pytest.mark.parametrize("name", ACCURATE)
def test_accuracy_under_inductor(rows: tuple[Loss, Loss], name: str) -> None:
    """The generated code is as near to float64 as the eager code is: over all samples, as one of them is a lottery."""
    ours, eager = torch.stack([errors_of(rows, on_rows(make())) for make in ACCURATE[name]], dim=1)  # [samples, 2]
    assert float(ours[:, 0].max()) < 1e-6
    ours, eager = (errors.square().mean(0).sqrt() for errors in (ours, eager))
    assert bool((ours <= 1.1 * eager).all()), (ours, eager)


def errors_of(pair: tuple[Loss, Loss], sample: Sample) -> Tensor:
    """The errors of the gradient, compiled and not: norm over that of the exact one, and largest element."""
    sample = Sample({**sample.inputs, "logits": sample.inputs["logits"].float().double()}, sample.model)
    leaves = sample.leaves(torch.float64).inputs
    errors: list[tuple[float, float]] = []
    for loss in pair:
        now = {"temperature": float(loss.state.temperature), "step": int(loss.state.step)}
        exact = total.reference(CONFIG, **leaves, **now)["total_loss"]
        (gradient,) = torch.autograd.grad(exact, leaves["logits"])
        values, gradients = run(loss, sample, detailed=False)
        assert float(values["total_loss"].detach()) == pytest.approx(float(exact.detach()), rel=1e-6)
        error = gradients["logits"].double() - gradient
        errors.append((float(error.norm() / gradient.norm()), float(error.abs().max())))
    return torch.tensor(errors)


def test_every_term_is_in_one_graph() -> None:
    """Own heads, experts, a teacher and sampled hidden states included; rows and lengths change, the graph does not."""
    pair = twice({**CONFIG, "model": everything().model, "terms": ALL, "compile": {"backend": "aot_eager"}})
    before = built()
    for sample in (everything(), everything(2, batch=4), everything(3, length=7), samples.ignore_all(everything(6))):
        hold(pair, sample, detailed=True)
    assert built() - before == 1
    assert not torch._dynamo.utils.counters["graph_break"]


def test_another_vocabulary_is_another_graph_and_no_unknown_size() -> None:
    """What Dynamo learnt of one loss must not make it unsure of the next."""
    graphs = []
    for vocab in (5, 23):
        loss = Loss.load({"version": 1, "terms": {"z_loss": {}}, "compile": {"backend": "aot_eager"}})
        before = built()
        for length in (4, 9, 15):
            loss(torch.zeros(2, length, vocab, requires_grad=True), torch.zeros(2, length, dtype=torch.int64))
        graphs.append(built() - before)
    assert graphs == [1, 1]


def test_16_bits_under_inductor() -> None:
    """The gradient of 16-bit logits is written in place, a column at a time, outside the generated kernels."""
    sample = samples.sample(8, vocab=9, length=12, distinct=2, kind="repeating")
    config = sample.config({"immediate_repetition_penalty": {}})
    answers = []
    for enabled in (True, False):
        inputs = sample.leaves(torch.bfloat16).inputs
        value = Loss.load(config, overrides={"compile.enabled": enabled})(**inputs)
        value.backward()
        answers.append((value.detach(), inputs["logits"].grad))
    torch.testing.assert_close(answers[0][0], answers[1][0], rtol=1e-6, atol=0)
    torch.testing.assert_close(answers[0][1], answers[1][1], rtol=2**-7, atol=1e-6)
    assert answers[0][1].dtype == torch.bfloat16
