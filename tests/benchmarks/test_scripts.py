"""The benchmarks' own machinery: fair turns, comparisons that can fail, records, and a runner that goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import compile as compiling
from benchmarks import harness, memory, run_all
from benchmarks.linear import chunked, heads
from benchmarks.logits import tokens

ROOT = Path(__file__).resolve().parents[2]


def test_sides_take_turns_and_start_without_gradients():
    leaf = torch.ones(2, requires_grad=True)
    seen = []

    def side(name):
        def run():
            seen.append((name, leaf.grad))
            return (leaf * 2).sum()

        return run

    medians = harness.interleaved({"a": side("a"), "b": side("b")}, [leaf], rounds=3)
    assert set(medians) == {"a", "b"}
    assert "".join(name for name, _ in seen) == "aabb" + "ab" * 3
    assert all(grad is None for _, grad in seen)


def test_a_wrong_answer_stops_the_script():
    leaf = torch.randn(5, requires_grad=True)

    def right():
        return leaf.square().sum()

    harness.agree(right, lambda: (leaf * leaf).sum(), [leaf])
    with pytest.raises(AssertionError):
        harness.agree(right, lambda: leaf.square().sum() * 1.001, [leaf])
    with pytest.raises(AssertionError, match="gradients differ"):
        harness.agree(right, lambda: leaf.square().sum().detach() + 0 * leaf.sum(), [leaf])


def test_a_record_has_goals_and_a_quick_one_has_none(tmp_path, capsys):
    rows = [harness.Row("this ÷ that", 0.5, 0.4, "2 × 3"), harness.Row("other", 0.5, 0.6), harness.Row("bare", None, 1)]
    options = harness.parser("About.").parse_args(["--records", str(tmp_path / "new")])
    harness.report("some", rows, {"this": 1.0}, options, fastest="x")
    record = json.loads((tmp_path / "new" / "some.json").read_text(encoding="utf-8"))
    assert [row["met"] for row in record["rows"]] == [True, False, None]
    assert (record["fastest"], record["seconds"], record["torch"]) == ("x", {"this": 1.0}, torch.__version__)
    printed = capsys.readouterr().out
    assert "goal" in printed
    assert "≤ 0.5" in printed
    options.quick = True
    harness.report("some", rows, {}, options)
    record = json.loads((tmp_path / "new" / "some.json").read_text(encoding="utf-8"))
    assert [row["met"] for row in record["rows"]] == [None] * 3
    assert "too small to judge" in capsys.readouterr().out


def test_the_runner_goes_on_after_a_failure(tmp_path, monkeypatch, capfd):
    (tmp_path / "bad.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "good.py").write_text("import sys\nprint('ran with', *sys.argv[1:])\n")
    monkeypatch.setattr(run_all, "FOLDER", tmp_path)
    monkeypatch.setattr(run_all, "SCRIPTS", ("bad.py", "good.py"))
    assert run_all.main(["--records", "here"]) == 1
    told = capfd.readouterr()
    assert "ran with --records here" in told.out
    assert "failed: bad.py" in told.err
    monkeypatch.setattr(run_all, "SCRIPTS", ("good.py",))
    assert run_all.main(["--quick"]) == 0
    assert "ran with --quick --records" in capfd.readouterr().out


def test_every_script_is_run_and_says_how_it_measures():
    here = {path.name for path in (ROOT / "benchmarks").glob("*.py")}
    assert set(run_all.SCRIPTS) == here - {"harness.py", "chart.py", "page.py", "run_all.py"}
    for name in run_all.SCRIPTS:
        text = (ROOT / "benchmarks" / name).read_text(encoding="utf-8")
        assert f"python benchmarks/{name}" in text.split('"""')[1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="measures for minutes on a GPU")
def test_without_a_gpu_it_says_so_and_ends_well():
    done = subprocess.run([sys.executable, "benchmarks/gpu.py"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "needs a GPU" in done.stdout


@pytest.mark.parametrize("rows", [1, 16, 24, 256, 2048])
def test_targets_repeat(rows):
    targets = tokens(rows, 997)
    assert targets.numel() == rows
    assert int(targets.max()) < 997
    if rows > 16:
        half = targets.shape[1] // 2
        assert torch.equal(targets[:, half : half + 10], targets[:, half - min(20, half) :][:, :10])


def test_the_library_accepts_every_option_it_is_timed_with():
    hidden, weight, targets = heads(256, 8, 40)
    expected = torch.nn.functional.linear_cross_entropy(hidden.flatten(0, 1), weight, targets.flatten())
    for options in chunked(256, 40).values():
        found = torch.nn.functional.linear_cross_entropy(
            hidden.flatten(0, 1), weight, targets.flatten(), options=options
        )
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("case", memory.CASES)
def test_every_case_of_memory_takes_its_gradients(case, monkeypatch):
    monkeypatch.setitem(memory.CONFIG, "compile", {"enabled": False})
    call, leaves = memory.caller(case, 8, 41)(16)
    call().backward()
    assert len(leaves) == {memory.MTP: 3, memory.LINEAR: 2}.get(case, 1 if case.startswith("logits") else 2)
    assert all(leaf.grad is not None and leaf.grad.any() for leaf in leaves)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's record")
def test_the_peak_of_resident_memory_is_seen():
    code = (
        "import json, torch; from pathlib import Path; from benchmarks import memory\n"
        "memory.let_go(); before = memory.status('VmRSS')\n"
        "Path('/proc/self/clear_refs').write_text('5'); x = torch.ones(2**24); del x\n"
        "print(json.dumps([memory.status('VmHWM') - before, memory.status('VmRSS') - before]))"
    )
    peak, after = harness.fresh(["-c", code], **memory.MALLOC)
    assert 2**26 * 0.95 < peak < 2**26 * 1.3
    assert after < 2**23


def test_what_hands_values_to_python_is_counted():
    class Waits:
        def __init__(self, work):
            self.work = work

        def __call__(self, logits, targets):
            self.work(logits.detach())
            return logits.sum()

    arguments = {"logits": torch.randn(3, 4, requires_grad=True), "targets": torch.zeros(3, dtype=torch.int64)}
    found = {
        "nothing": compiling.synchronisations(Waits(lambda x: x * 2), arguments),
        "item": compiling.synchronisations(Waits(lambda x: x[0, 0].item()), arguments),
        "bool": compiling.synchronisations(Waits(lambda x: bool(x.any())), arguments),
        "tolist": compiling.synchronisations(Waits(lambda x: x.tolist()), arguments),
        "nonzero": compiling.synchronisations(Waits(lambda x: x.nonzero()), arguments),
    }
    assert found["nothing"] == {}
    assert found["item"] == found["bool"] == {"aten::_local_scalar_dense": 1}
    assert found["tolist"] == {"tolist": 1}
    assert found["nonzero"] == {"aten::nonzero": 1}


@pytest.mark.parametrize("preset", compiling.PRESETS)
def test_every_weight_of_a_preset_moves(preset):
    overrides = compiling.moving(preset)
    config = compiling.Config.load(preset, overrides=overrides)
    assert all(not isinstance(term.weight, float) for term in config.enabled)
    assert config.primary.type != "deepseek" or config.primary.temperature.adaptive
