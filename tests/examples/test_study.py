"""The study: its measures against examples worked out by hand, a tiny study from end to end, and its page."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from small_lm import data, evaluation
from small_lm.model import Cache, Experts, SmallLM
from study import measure, metrics, one, page, pictures, recipes, run, svg, tables
from study.jobs import Board, Job
from study.jobs import run as run_job

import ava

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "study" / "run.py"
TINY = replace(recipes.SCALES["quick"], steps=2)


# Measures of text


def test_repetition_of_known_texts() -> None:
    assert metrics.repeated([1, 2, 1, 2, 1], 2) == 1 - 2 / 4
    assert metrics.repeated([1, 2, 3, 4, 5], 4) == 0
    assert metrics.repeated([7] * 9, 4) == 1 - 1 / 6
    assert metrics.repeated([1, 2], 4) == 0
    assert metrics.distinct([[1, 2, 1], [1, 2, 3]], 1) == 3 / 6
    assert metrics.distinct([[1, 2, 1], [1, 2, 3]], 2) == 3 / 4


@pytest.mark.parametrize(
    ("text", "is_loop"),
    [
        (list(range(100)) + [5] * 32, True),
        (list(range(100)) + [5] * 31, False),
        (list(range(100)) + [1, 2, 3] * 11, True),  # 33 tokens of period 3
        (list(range(100)) + list(range(20)) * 4, True),
        (list(range(101, 200)) + list(range(20)) * 3, False),  # three times is not yet a loop
        ([1, 2, 3] * 30 + [9], False),  # it got out
        (list(range(10)) * 3, False),  # too short
    ],
)
def test_a_loop_is_four_repeats_over_32_tokens_up_to_the_end(text: list[int], is_loop: bool) -> None:
    assert metrics.loops(text) is is_loop


def test_a_description_has_means_over_the_texts() -> None:
    end = data.END
    found = metrics.describe([[5] * 40, [*range(19), end, *range(50, 70)], [*range(20), end, *range(50, 69)]], end)
    assert found["rep_4"] == pytest.approx((1 - 1 / 37) / 3)
    assert found["loops"] == found["premature"] == pytest.approx(1 / 3)


def test_the_load_of_experts() -> None:
    found = metrics.load([[10, 10, 10, 10], [40, 0, 0, 0], [37, 1, 1, 1]])
    assert found["cv"] == pytest.approx((0 + 2 + 1.8) / 3)
    assert found["dead"] == 3  # a share of exactly a tenth of the even one is alive
    assert found["most"] == 4
    assert found["shares"] == [1, 1, 1, 1, 4, 0, 0, 0, 3.7, 0.1, 0.1, 0.1]


# Measures of a model


@pytest.fixture(scope="module")
def text() -> data.PackedText:
    dice = torch.Generator().manual_seed(0)
    return data.PackedText.pack(bytes(torch.randint(97, 101, (300,), generator=dice).tolist()) for _ in range(3))


def small(experts: int = 0) -> SmallLM:
    torch.manual_seed(1)
    return SmallLM(data.VOCAB, width=32, layers=2, experts=experts)


def test_the_held_out_scores_are_those_of_the_example_and_of_a_plain_computation(text: data.PackedText) -> None:
    model, batches = small(), text.spread(2, 3, 20)
    found = measure.held_out(model, batches, 1.3)
    known = evaluation.held_out(model, batches)
    assert found["nats"] == pytest.approx(known["nats"])
    assert found["accuracy"] == pytest.approx(known["accuracy"])
    inputs, targets = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("inputs", "targets"))
    with torch.no_grad():
        logits = model(inputs).logits
    nats = -(logits / 1.3).log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    assert found["nats_at_temperature"] == pytest.approx(nats.mean().item(), rel=1e-5)
    own = -logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    repeats, guess = inputs == targets, logits.argmax(-1)
    assert found["repeats"] == pytest.approx(repeats.float().mean().item())
    assert found["nats_on_repeats"] == pytest.approx(own[repeats].mean().item(), rel=1e-5)
    assert found["false_repeats"] == pytest.approx(((guess == inputs) & ~repeats).float().mean().item())
    assert found["missed_repeats"] == pytest.approx(((guess != inputs) & repeats).float().mean().item())


def test_the_best_temperature_finds_the_scale_of_the_logits(text: data.PackedText) -> None:
    model, batches = small(), text.spread(2, 3, 20)
    with torch.no_grad():
        model.head.weight.mul_(3)
    before = measure.held_out(model, batches, 1.0)
    with torch.no_grad():
        model.norm.weight.mul_(1.25)
    after = measure.held_out(model, batches, 1.25)
    assert after["nats_at_temperature"] == pytest.approx(before["nats"], rel=1e-5)
    assert after["nats_at_best"] == pytest.approx(before["nats_at_best"], rel=1e-2)
    assert before["nats_at_best"] <= before["nats"]


def test_the_penalties_are_those_of_the_loss(text: data.PackedText) -> None:
    model, (batch,) = small(), text.spread(2, 1, 40)
    config = {"version": 1, "terms": {"ngram_penalty": {}}, "compile": {"enabled": False}}
    loss = ava.Loss.load(config, vocab_size=data.VOCAB)
    detail = loss(
        model(batch.inputs).logits,
        batch.targets,
        input_ids=batch.inputs,
        segment_ids=batch.segments,
        return_detailed=True,
    )
    found = measure.penalties(model, [batch])
    assert found["ngram_penalty"] == pytest.approx(detail["raw/ngram_penalty"].item(), rel=1e-5)
    assert set(found) == {"immediate_repetition_penalty", "ngram_penalty", "eos_penalty"}


@pytest.mark.parametrize("experts", [0, 3])
def test_a_cache_changes_nothing(experts: int) -> None:
    model, prompts = small(experts), torch.randint(0, 256, (3, 7))
    assert torch.equal(measure.continued(model, prompts, 9), evaluation.greedy(model, prompts, 9, context=99))
    cache = Cache(2)
    whole, parts = model(prompts), [model(part, cache) for part in (prompts[:, :5], prompts[:, 5:6], prompts[:, 6:])]
    torch.testing.assert_close(torch.cat([part.logits for part in parts], 1), whole.logits)


def test_sampling_is_the_same_every_time_and_follows_the_temperature() -> None:
    model, prompts = small(), torch.full((64, 1), data.END)
    one_, other = (measure.continued(model, prompts, 8, 1.0) for _ in range(2))
    assert torch.equal(one_, other)
    cold = measure.continued(model, prompts, 8, 1e-4)
    assert torch.equal(cold, measure.continued(model, prompts, 8))
    assert len(cold.unique()) < len(one_.unique())


def test_real_text_follows_the_prompts(text: data.PackedText) -> None:
    sizes = replace(TINY, prompts=3, prompt_length=5, continuation=7)
    given, real = measure.prompts(text, sizes)
    assert (given.shape, real.shape) == ((3, 5), (3, 7))
    assert torch.cat((given, real), 1)[0].tolist() == text.tokens[:12].tolist()


# The router


def test_the_bias_moves_the_choice_and_leaves_the_gates() -> None:
    torch.manual_seed(0)
    layer, x = Experts(8, 16, count=4, top_k=2), torch.randn(5, 8)
    mixed, gates, chosen = layer(x)
    assert torch.equal(chosen, gates.topk(2).indices)
    layer.bias[3] = 1e3
    other, same, forced = layer(x)
    assert torch.equal(gates, same)
    assert (forced == 3).any(-1).all()
    row = 0
    share = gates[row, forced[row]].softmax(-1)
    expected = sum(share[n] * layer.experts[expert](x[row]) for n, expert in enumerate(forced[row].tolist()))
    torch.testing.assert_close(other[row], expected)
    assert not torch.allclose(mixed, other)


def test_the_router_adds_the_bias_that_the_loss_keeps() -> None:
    trainer = one.Trainer(
        one.options(recipes.RECIPES["moe_loss_free_fast"], 0, TINY, "cpu"), one.corpus(TINY, "cpu")[0]
    )
    for _ in range(3):
        trainer.step()
    bias = trainer.loss_fn.expert_bias
    assert 0 < bias.abs().max() <= 0.06
    torch.testing.assert_close(trainer.model.blocks[0].mlp.bias, bias[0].float())


# Recipes


@pytest.mark.parametrize("recipe", recipes.RECIPES.values(), ids=recipes.RECIPES)
def test_a_recipe_is_a_valid_loss_that_does_what_its_name_says(recipe: recipes.Recipe) -> None:
    config = recipe.config()
    assert (config.model.num_experts or recipe.experts) == recipe.experts
    if recipe.name == "plain":
        assert {name for name, term in config.terms if term is not None} == set()
    if "wide" in recipe.name:
        assert (config.primary.temperature.adaptive, config.primary.temperature.bounds) == (True, (0.5, 2.0))
    if "fixed_tau" in recipe.name or "penalties" in recipe.name:
        assert (config.primary.temperature.adaptive, config.primary.temperature.initial) == (False, 1.0)


def test_first_weights_are_the_same_whatever_the_loss() -> None:
    training, _ = one.corpus(TINY, "cpu")
    plain, heads = (
        one.Trainer(one.options(recipes.RECIPES[name], 7, TINY, "cpu"), training) for name in ("plain", "plain_mtp")
    )
    assert len(heads.weights) > len(plain.weights)
    for weight, other in zip(plain.model.parameters(), heads.model.parameters(), strict=True):
        assert torch.equal(weight, other)


def test_what_makes_a_run_another_one() -> None:
    plain, text = recipes.RECIPES["plain"], [1, 2]
    same = recipes.identity(plain, 0, TINY, "cuda:0", text)
    assert same == recipes.identity(plain, 0, TINY, "cuda:1", text)
    assert same == json.loads(json.dumps(same))
    others = [
        recipes.identity(replace(plain, set=("terms.z_loss.weight=0.2",)), 0, TINY, "cuda", text),
        recipes.identity(plain, 1, TINY, "cuda", text),
        recipes.identity(plain, 0, replace(TINY, steps=3), "cuda", text),
        recipes.identity(plain, 0, TINY, "cuda", [1, 3]),
        recipes.identity(replace(plain, experts=8), 0, TINY, "cuda", text),
    ]
    assert same not in others


# The study


def study(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--out", str(folder), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONIOENCODING": "utf-8", "NO_COLOR": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    done = study(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 of 4 jobs are done" in done.stdout
    return folder


def test_a_study_from_nothing_to_its_results(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    assert [(found["recipe"], found["seed"]) for found in results["runs"]] == [(name, 0) for name in run.QUICK]
    assert not list(finished.rglob("*.log"))
    assert results["failed"] == []
    for found in results["runs"]:
        assert found["held_out"]["nats"] < math.log(data.VOCAB)
        assert [point["step"] for point in found["curve"]] == [3, 6]
        assert {"greedy", "sampled"} <= found["texts"].keys()
        assert len(found["example"]) == results["sizes"]["continuation"]
    assert len(results["runs"][2]["held_out"]["experts"]["shares"]) == 8
    assert set(results["timing"]["uncompiled"]) >= {"plain", "standard", "moe_loss_free"}


def test_finished_runs_stay_and_others_are_run_again(finished: Path) -> None:
    kept, other = (finished / "runs" / f"{name}-0.json" for name in ("plain", "standard"))
    answer = json.loads(other.read_text())
    other.write_text(json.dumps(answer | {"identity": answer["identity"] | {"seed": 9}}))
    before = kept.stat().st_mtime_ns
    done = study(finished)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 4 jobs are done" in done.stdout
    assert "1/1 standard, seed 0" in done.stdout
    assert kept.stat().st_mtime_ns == before
    again = json.loads(other.read_text())
    assert [again[name] for name in ("identity", "held_out", "texts")] == [
        answer[name] for name in ("identity", "held_out", "texts")
    ]


def test_a_failed_job_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    written = tmp_path / "fine.json"
    jobs = [
        Job("bad", ["-c", "import sys; sys.exit('it broke')"], tmp_path / "bad.json", {}),
        Job("fine", ["-c", f"open({str(written)!r}, 'w').write('{{\"identity\": {{}}}}')"], written, {}),
    ]
    with Board(Console(file=(tmp_path / "screen").open("w")), 2) as board:
        assert [run_job(job, board) for job in jobs] == [False, True]
    assert "it broke" in jobs[0].log.read_text()
    assert [job.done() for job in jobs] == [False, True]


def test_a_study_with_a_failed_run_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(job: Job, board: Board) -> bool:
        return job.name != "plain, seed 0"

    monkeypatch.setattr(run, "run", fails)
    assert run.main(["--quick", "--out", str(tmp_path)]) == 1
    assert json.loads((tmp_path / "results.json").read_text())["failed"] == ["plain, seed 0"]


def test_a_stopped_study_leaves_no_process_and_no_half_written_run(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--quick", "--steps", "100000", "--out", str(tmp_path), "--only", "plain"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        assert "jobs are done" in process.stdout.readline()
        assert "timing" in process.stdout.readline()
        while not (tmp_path / "runs" / "plain-0.log").exists():
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGTERM)
    said = process.stdout.read()  # ends when nobody has it open: no child is left
    assert process.wait(timeout=60) == 130
    assert "stopped; the same command goes on" in said
    assert not (tmp_path / "runs" / "plain-0.json").exists()


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--jobs", "-1"], ["--only", "planet"]])
def test_wrong_options_are_named(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run.options(arguments)
    assert stop.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_what_is_not_finite_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        one.write({"nats": float("nan")}, tmp_path / "run.json")
    assert not list(tmp_path.iterdir())


# The page


@pytest.fixture
def docs(finished: Path, tmp_path: Path) -> Path:
    page_ = "".join(f"<!-- begin {name} -->\n<!-- end {name} -->\n" for name in tables.TABLES)
    (tmp_path / "study.md").write_text(f"# Study\n\n{page_}after")
    assert page.main(["--docs", str(tmp_path), "--results", str(finished / "results.json")]) == 0
    return tmp_path


def test_the_page_holds_the_figures_and_is_written_once(docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = json.loads((docs / "study" / "results.json").read_text())
    text = (docs / "study.md").read_text()
    for found in results["runs"]:
        assert f"{found['held_out']['nats']:.3f}" in text
    assert text.startswith("# Study\n")
    assert text.endswith("after")
    capsys.readouterr()
    assert page.main(["--docs", str(docs), "--check"]) == 0
    assert page.main(["--docs", str(docs)]) == 0
    assert capsys.readouterr().out == ""


def test_a_page_that_drifted_is_found(docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (docs / "study.md").read_text()
    (docs / "study.md").write_text(text.replace("| `plain` |", "| `plane` |"))
    (docs / "study" / "held-out.svg").unlink()
    assert page.main(["--docs", str(docs), "--check"]) == 1
    assert capsys.readouterr().out.splitlines() == ["differs: docs/study.md", "differs: docs/study/held-out.svg"]
    assert page.main(["--docs", str(docs)]) == 0
    assert (docs / "study.md").read_text() == text


def test_pictures_are_well_formed_and_within_their_frame(docs: Path) -> None:
    drawn = list((docs / "study").glob("*.svg"))
    assert len(drawn) >= 7
    for path in drawn:
        root = ElementTree.fromstring(path.read_text())
        width, height = float(root.get("width", 0)), float(root.get("height", 0))
        for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
            assert 0 < float(circle.get("cx", -1)) < width, path
            assert 0 < float(circle.get("cy", -1)) < height, path


def test_dots_stand_at_their_values() -> None:
    axis = svg.Axis.around([1.02, 1.48], 100, 600)
    assert (axis.low, axis.step) == (1.0, 0.1)
    assert axis.high == pytest.approx(1.5)
    assert axis.at(1.25) == pytest.approx(350)
    drawn = svg.dots("t", "x", {"a & b": [1.0, 2.0]}, {})
    assert 'stroke-width="2"' in drawn
    assert "a &amp; b" in drawn


def test_means_and_spreads() -> None:
    assert tables.spread([1.0, 2.0, 3.0]) == "2.000 (1.000 to 3.000)"
    assert tables.spread([0.5], 2, sign=True) == "+0.50"


def test_differences_are_taken_seed_by_seed() -> None:
    def found(recipe: str, seed: int, nats: float) -> dict[str, Any]:
        return {"recipe": recipe, "seed": seed, "held_out": {"nats": nats}}

    results = {
        "recipes": {name: {"experts": None, "group": "dense"} for name in ("plain", "standard")},
        "runs": [found("plain", 0, 2.0), found("plain", 1, 3.0), found("standard", 0, 2.1), found("standard", 1, 3.3)],
    }
    assert tables.against(results, "standard") == "+0.200 (+0.100 to +0.300)"
    assert tables.against(results, "plain") == ""
    assert pictures.names(results, "dense") == ["plain", "standard"]


def test_the_committed_page_is_what_the_results_say_and_needs_no_torch() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'examples')!r}); from study import page\n"
        "status = page.main(['--check']); assert 'torch' not in sys.modules; sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
