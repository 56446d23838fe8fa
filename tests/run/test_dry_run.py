"""The measurement: figures against autograd, findings, and the command."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch.nn import functional as F

from ava.cli import main
from ava.config import Config
from ava.load import list_presets
from ava.run.dry_run.decompose import decompose
from ava.run.dry_run.fill import fill
from ava.run.dry_run.instruments import peak_bytes
from ava.run.dry_run.judge import judge
from ava.run.dry_run.measure import Request, dry_run
from ava.run.dry_run.scenarios import Scenario, draw
from ava.run.loss import Loss
from ava.terms.z_loss import ZLoss

PRESETS = [preset.name for preset in list_presets() if preset.origin == "shipped"]
SMALL = Request(batch=2, length=24, vocab_size=64, compiled=False, steps=2)
KEYS = [
    "preset",
    "engine",
    "total",
    "terms",
    "conflicts",
    "finite",
    "graph_breaks",
    "recompiles",
    "compile_seconds",
    "forward_ms",
    "backward_ms",
    "peak_bytes",
    "planned_bytes",
    "eager_difference",
    "findings",
]
FIGURES = ["raw", "weight", "weighted", "contribution", "gradient_norm", "gradient_share", "cosine_to_main"]


def config_of(terms: dict, **model) -> Config:
    return Config.load({"version": 1, "terms": terms}, **model)


def test_figures_agree_with_autograd():
    config = fill(config_of({"z_loss": {"weight": 0.5}, "focal_loss": {}}), vocab_size=50, compiled=False).config
    loss = Loss(config)
    tensors = draw(loss.plan, Scenario.RANDOM, batch=2, length=8)
    parts = decompose(loss, tensors, {"z_loss": 0.5, "focal_loss": 0.2}, lambda _: None)
    x = tensors["logits"].detach().double().requires_grad_()
    y = tensors["targets"]
    nll = F.cross_entropy(x.flatten(0, 1), y.flatten(), reduction="none")
    terms = {"main_loss": nll.mean(), "z_loss": x.logsumexp(-1).square().mean()}
    terms["focal_loss"] = ((1 - (-nll).exp()) ** 2 * nll).mean()
    weights = {"main_loss": 1.0, "z_loss": 0.5, "focal_loss": 0.2}
    grads = {name: torch.autograd.grad(value, x, retain_graph=True)[0].flatten() for name, value in terms.items()}
    sizes = {name: weights[name] * grad.norm().item() for name, grad in grads.items()}
    total = sum(weights[name] * value.item() for name, value in terms.items())
    for name, figures in parts.terms.items():
        assert figures.raw == pytest.approx(terms[name].item(), rel=1e-5)
        assert figures.weighted == pytest.approx(weights[name] * terms[name].item(), rel=1e-5)
        assert figures.contribution == pytest.approx(figures.weighted / total, rel=1e-5)
        assert figures.gradient_norm == pytest.approx(sizes[name], rel=1e-4)
        assert figures.gradient_share == pytest.approx(sizes[name] / sum(sizes.values()), rel=1e-4)
        for other, cosine in parts.conflicts[name].items():
            assert cosine == pytest.approx(F.cosine_similarity(grads[name], grads[other], dim=0).item(), abs=1e-4)


def test_taking_apart_leaves_the_state_alone():
    loss = Loss(fill(Config.load("standard"), vocab_size=50, compiled=False).config)
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    tensors = draw(loss.plan, Scenario.RANDOM, batch=2, length=8)
    decompose(loss, tensors, {planned.name: 1.0 for planned in loss.plan.terms}, lambda _: None)
    assert loss.training
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())
    assert tensors["logits"].grad is None


@pytest.mark.parametrize("engine", ["logits", "linear"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_runs_dry(name, dtype, engine):
    measured = dry_run(Config.load(name), replace(SMALL, dtype=dtype, engine=engine))
    assert measured.engine == engine
    assert measured.finite
    assert not [finding for finding in measured.findings if finding.severity == "error"]
    terms = measured.parts.terms
    assert sum(term.weighted for term in terms.values()) == pytest.approx(measured.total, rel=2e-2)
    assert sum(term.contribution for term in terms.values()) == pytest.approx(1)
    assert sum(term.gradient_share for term in terms.values()) == pytest.approx(1)
    assert (measured.recompiles, measured.graph_breaks, measured.eager_difference) == (0, 0, None)
    assert measured.peak_bytes > 0


def test_json_has_exactly_the_promised_keys(capsys):
    code = main(
        [
            "dry-run",
            "standard",
            "--no-compile",
            "--vocab-size",
            "64",
            "--seq-len",
            "16",
            "--steps",
            "1",
            "--format",
            "json",
        ]
    )
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert code == 0
    assert list(told) == KEYS
    assert list(told["terms"]) == ["main_loss", "immediate_repetition_penalty", "ngram_penalty", "eos_penalty"]
    assert all(list(figures) == FIGURES for figures in told["terms"].values())
    assert told["conflicts"]["main_loss"]["eos_penalty"] == told["conflicts"]["eos_penalty"]["main_loss"]
    assert "filled in: model.vocab_size 64, model.eos_token_id 63" in captured.err


@pytest.mark.parametrize("format", ["text", "markdown"])
def test_formats_for_people(format, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    arguments = [
        "dry-run",
        "moe",
        "--no-compile",
        "--vocab-size",
        "64",
        "--seq-len",
        "16",
        "--steps",
        "1",
        "--scenario",
        "skewed",
        "--format",
    ]
    assert main([*arguments, format]) == 0
    out = capsys.readouterr().out
    assert "moe_balance_loss" in out
    if format == "text":
        assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("terms", "scenario", "code"),
    [
        ({"z_loss": {"weight": 1e38}}, Scenario.RANDOM, "AVA551"),
        ({"token_diversity_loss": {"weight": 0.3}}, Scenario.COLLAPSED, None),
        ({"z_loss": {"weight": 10.0}}, Scenario.TRAINED, "AVA553"),
        ({"z_loss": {"weight": 0.0}}, Scenario.RANDOM, "AVA554"),
        ({"ngram_penalty": {}}, Scenario.RANDOM, "AVA554"),
        ({"ngram_penalty": {}}, Scenario.REPETITIVE, None),
    ],
)
def test_findings(terms, scenario, code):
    measured = dry_run(config_of(terms), replace(SMALL, scenario=scenario))
    assert [finding.code for finding in measured.findings][:1] == ([code] if code else [])
    assert measured.finite == (code != "AVA551")


def test_findings_of_the_run():
    config = config_of({"z_loss": {}})
    measured = dry_run(config, SMALL)
    main_figures = measured.parts.terms["z_loss"]
    against = replace(
        measured.parts, terms={**measured.parts.terms, "z_loss": replace(main_figures, cosine_to_main=-1.0)}
    )
    cases = {
        "AVA451": replace(measured, graph_breaks=1),
        "AVA452": replace(measured, recompiles=2),
        "AVA551": replace(measured, finite=False),
        "AVA552": replace(measured, parts=against),
        "AVA555": replace(measured, eager_difference=0.5),
    }
    for code, case in cases.items():
        assert [finding.code for finding in judge(case, config, "random", "float32")] == [code]
    nan = replace(measured, eager_difference=math.nan)
    assert [finding.code for finding in judge(nan, config, "random", "float32")] == ["AVA555"]


def test_exit_codes(capsys, tmp_path):
    small = ["--no-compile", "--vocab-size", "64", "--seq-len", "8", "--batch", "1", "--steps", "1"]
    idle = ["dry-run", "standard", *small]
    assert main(idle) == 0
    assert main([*idle, "--fail-on", "info"]) == 1
    assert main(["dry-run", "fast_prototype", *small, "--set", "terms.z_loss.weight=1e38"]) == 1
    for wrong in (["--engine", "vocab_parallel"], ["--device", "nonsense"], ["--batch", "0"], ["--dtype", "int8"]):
        assert main([*idle, *wrong]) == 2
    (tmp_path / "wrong.yaml").write_text("version: 2\n")
    assert main(["dry-run", str(tmp_path / "wrong.yaml")]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_non_finite_figures_are_null_in_json(capsys):
    arguments = ["dry-run", "fast_prototype", "--no-compile", "--vocab-size", "64", "--steps", "1", "--format", "json"]
    assert main([*arguments, "--set", "terms.z_loss.weight=1e38"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["total"] is None
    assert told["finite"] is False


def test_weights_are_those_after_the_schedules_or_of_a_step():
    weight = {"from": 0.0, "to": 0.1, "steps": 10}
    config = config_of({"z_loss": {"weight": weight}})
    assert dry_run(config, SMALL).parts.terms["z_loss"].weight == pytest.approx(0.1)
    assert dry_run(config, replace(SMALL, step=5)).parts.terms["z_loss"].weight == pytest.approx(0.05)


def test_memory_is_what_the_allocator_says():
    def work():
        one = torch.empty(1000, 1000)
        two = torch.empty(500, 1000)
        del one
        return torch.empty(1000), two

    assert peak_bytes(work, torch.device("cpu")) == pytest.approx(6_000_000, rel=0.01)


def test_shares_agree_with_autograd_for_hidden_states_and_head():
    config = fill(config_of({"z_loss": {"weight": 0.5}}), vocab_size=50, compiled=False, engine="linear").config
    loss = Loss(config)
    tensors = draw(loss.plan, Scenario.TRAINED, batch=2, length=8, engine="linear")
    parts = decompose(loss, tensors, {"z_loss": 0.5}, lambda _: None)
    h, w = (tensors[name].detach().double().requires_grad_() for name in ("hidden_states", "lm_head"))
    x = h @ w.T
    values = F.cross_entropy(x.flatten(0, 1), tensors["targets"].flatten()), 0.5 * x.logsumexp(-1).square().mean()
    grads = [torch.cat([g.flatten() for g in torch.autograd.grad(v, (h, w), retain_graph=True)]) for v in values]
    norms = [grad.norm().item() for grad in grads]
    figures = parts.terms["main_loss"], parts.terms["z_loss"]
    for one, norm in zip(figures, norms, strict=True):
        assert one.gradient_share == pytest.approx(norm / sum(norms), abs=1e-4)
    cosine = F.cosine_similarity(*grads, dim=0).item()
    assert figures[1].cosine_to_main == pytest.approx(cosine, abs=1e-4)


def test_every_finding_says_what_to_change():
    config = config_of({"z_loss": {"weight": 10.0}, "ngram_penalty": {"weight": 0.0}})
    measured = dry_run(config, SMALL)
    terms = {name: replace(figures, cosine_to_main=-1.0) for name, figures in measured.parts.terms.items()}
    worst = replace(
        measured,
        parts=replace(measured.parts, terms=terms),
        graph_breaks=2,
        break_reasons=("`.item()` in term.py",),
        recompiles=2,
        eager_difference=0.5,
        peak_bytes=10 * measured.planned_bytes + 10**6,
    )
    found = {finding.code: finding.message for finding in judge(worst, config, "random", "float32")}
    assert set(found) == {"AVA451", "AVA452", "AVA453", "AVA552", "AVA553", "AVA554", "AVA555"}
    assert "2 graph breaks: `.item()` in term.py" in found["AVA451"]
    assert "`terms.ngram_penalty.weight: 0.1`" in found["AVA554"]
    for code in ("AVA552", "AVA553"):
        assert "try `terms.z_loss.weight: " in found[code]
    assert "--engine linear" in found["AVA453"]
    assert "compile.enabled: false" in found["AVA555"]


def test_the_weight_to_try_has_a_tenth_of_the_gradient():
    config = config_of({"z_loss": {"weight": 10.0}})
    message = next(f.message for f in dry_run(config, SMALL).findings if f.code == "AVA553")
    weight = float(message.partition("terms.z_loss.weight: ")[2].partition("`")[0])
    tried = dry_run(config_of({"z_loss": {"weight": weight}}), SMALL)
    assert tried.parts.terms["z_loss"].gradient_share == pytest.approx(0.1, rel=0.5)


def test_a_loss_that_is_not_finite_is_explained():
    measured = dry_run(config_of({"z_loss": {"weight": 1e38}}), SMALL)
    message = next(finding.message for finding in measured.findings if finding.code == "AVA551")
    assert "`terms.z_loss.weight: 0.0001`" in message


@pytest.mark.parametrize(
    ("wrong", "begins"),
    [(("z_loss",), "`z_loss` is not finite: "), (("focal_loss", "z_loss"), "`focal_loss`, `z_loss` are not finite: ")],
)
def test_terms_that_are_not_finite_are_named_together(wrong: tuple[str, ...], begins: str) -> None:
    config = config_of({"z_loss": {}, "focal_loss": {}})
    measured = dry_run(config, SMALL)
    terms = measured.parts.terms
    broken = {name: replace(term, raw=math.inf) if name in wrong else term for name, term in terms.items()}
    case = replace(measured, finite=False, parts=replace(measured.parts, terms=broken))
    found = next(finding for finding in judge(case, config, "random", "float32") if finding.code == "AVA551")
    assert found.message.startswith(begins)


def test_full_checks_do_not_end_a_dry_run():
    config = Config.load({"version": 1, "terms": {"z_loss": {"weight": 1e38}}, "compile": {"checks": "full"}})
    assert dry_run(config, SMALL).findings[0].code == "AVA551"


class Breaking(ZLoss):
    name: ClassVar[str] = "z_loss"

    def value(self, rows):
        torch._dynamo.graph_break()
        return rows.lse.square()


@pytest.mark.compiled
def test_a_graph_break_is_told_with_its_reason(monkeypatch):
    monkeypatch.setattr(ZLoss, "value", Breaking.value)
    config = config_of({"z_loss": {"weight": 0.0123}})
    measured = dry_run(config, replace(SMALL, compiled=True))
    assert measured.graph_breaks == 1
    assert not measured.compiled
    finding = measured.findings[0]
    assert finding.code == "AVA451"
    assert "test_dry_run.py" in finding.message


@pytest.mark.compiled
def test_compiled_as_uncompiled():
    measured = dry_run(Config.load("standard"), replace(SMALL, compiled=True, steps=5))
    assert measured.compiled
    assert measured.eager_difference < 1e-4
    assert (measured.graph_breaks, measured.recompiles) == (0, 0)
    assert measured.compile_seconds > 0
