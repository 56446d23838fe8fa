"""The small language model: its data, its model, its log, and that stopping it changes nothing."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
import train_small_lm as example
from rich.console import Console
from small_lm import control, data, evaluation, files
from small_lm.display import Display
from small_lm.model import SmallLM
from small_lm.options import Options, parse
from torch import Tensor

ROOT = Path(__file__).parents[2]


def once_there(term: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(f"ava.terms.{term}") is None, reason=f"{term} is not there yet")


EAGER = ("compile.enabled=false",)
TINY: dict[str, Any] = {
    "set": EAGER,
    "steps": 20,
    "batch_size": 2,
    "seq_len": 24,
    "layers": 1,
    "width": 32,
    "warmup": 3,
    "eval_every": 8,
    "eval_batches": 2,
    "log_every": 5,
    "sample": 6,
}


def text(lengths: list[int], seed: int) -> data.PackedText:
    dice = torch.Generator().manual_seed(seed)
    return data.PackedText.pack(bytes(torch.randint(97, 105, (n,), generator=dice).tolist()) for n in lengths)


@pytest.fixture
def small_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        example, "load_corpus", lambda: (text([90, 13, 0, 700, 250, 31] * 3, 1), text([80, 200, 60], 2))
    )


def run(**changes: Any) -> tuple[example.Trainer, str]:
    screen = io.StringIO()
    return example.train(Options(**TINY | changes), Console(file=screen, width=160)), screen.getvalue()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def untimed(path: Path) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines(path)]


def assert_equal(a: Any, b: Any, where: str = "state") -> None:
    """Bit for bit, whatever the nesting."""
    if isinstance(a, Tensor):
        assert a.dtype == b.dtype, where
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{where}.{index}")
    else:
        assert a == b, where


# The data


def test_the_split_is_disjoint_deterministic_and_by_package() -> None:
    _, paths = data.standard_library()
    sides: dict[str, set[bool]] = {}
    for path in paths:
        sides.setdefault(path.split("/")[0], set()).add(data.is_held_out(path))
    assert paths == data.standard_library()[1] == sorted(set(paths))
    assert all(len(side) == 1 for side in sides.values())
    held_out = [path for path in paths if data.is_held_out(path)]
    assert 0 < len(held_out) < len(paths) / 4
    assert [data.is_held_out(path) for path in ("abc.py", "io.py")] == [False, True]


def test_the_library_is_source_without_tests_and_installed_packages() -> None:
    root, paths = data.standard_library()
    assert len(paths) > 300
    assert all(path.endswith(".py") for path in paths)
    assert not any(part in data.LEFT_OUT for path in paths for part in path.split("/"))
    assert (root / paths[0]).is_file()


def test_documents_are_packed_between_end_tokens_with_their_numbers() -> None:
    packed = data.PackedText.pack([b"ab", b"", b"c"])
    assert packed.tokens.tolist() == [256, 97, 98, 256, 99, 256]
    assert packed.documents.tolist() == [0, 0, 0, 0, 1, 1]


def test_targets_are_the_inputs_one_to_the_left_and_segments_are_the_documents_of_the_targets() -> None:
    packed = data.PackedText.pack([b"abc", b"de", b"fghi"])
    batch = packed.batch(torch.tensor([0, 1]), seq_len=6)
    assert batch.inputs.tolist() == [[256, 97, 98, 99, 256, 100], [101, 256, 102, 103, 104, 105]]
    assert batch.targets.tolist() == [[97, 98, 99, 256, 100, 101], [256, 102, 103, 104, 105, 256]]
    assert batch.segments.tolist() == [[0, 0, 0, 0, 1, 1], [1, 2, 2, 2, 2, 2]]


def test_an_epoch_shows_every_window_once_and_each_epoch_has_its_own_order() -> None:
    packed = text([400], 0)
    stream = data.Shuffled(packed, batch_size=4, seq_len=10, seed=3)
    first, second = (torch.cat([batch.inputs for batch in stream.take(10)]) for _ in range(2))
    rows = packed.tokens[:400].view(40, 10)
    assert sorted(first.tolist()) == sorted(second.tolist()) == sorted(rows.tolist())
    assert first.tolist() != second.tolist() != rows.tolist()


def test_the_place_in_the_data_is_one_number() -> None:
    packed = text([400], 0)
    stream, other = (data.Shuffled(packed, batch_size=4, seq_len=10, seed=3) for _ in range(2))
    stream.take(13)
    other.position = stream.position
    assert_equal(stream.take(9), other.take(9))


def test_too_little_text_is_said() -> None:
    with pytest.raises(ValueError, match="fewer than a batch of 8"):
        data.Shuffled(text([30], 0), batch_size=8, seq_len=10, seed=0)


# The model


@pytest.mark.parametrize("experts", [0, 3])
def test_the_model_never_sees_the_future(experts: int) -> None:
    torch.manual_seed(0)
    model = SmallLM(data.VOCAB, width=64, layers=2, experts=experts)
    tokens = torch.randint(0, 256, (2, 12))
    changed = tokens.clone()
    changed[:, 7] = (changed[:, 7] + 1) % 256
    before, after = model(tokens), model(changed)
    assert torch.allclose(before.logits[:, :7], after.logits[:, :7], atol=1e-6)
    assert (before.logits[:, 7:] - after.logits[:, 7:]).abs().amax(dim=(0, 2)).min() > 1e-4
    assert before.hidden.shape == (2, 12, 64)
    assert [gate.shape for gate in before.gates] == [(2, 12, 3)] * (2 if experts else 0)


def test_the_position_of_a_token_matters() -> None:
    torch.manual_seed(0)
    model = SmallLM(data.VOCAB, width=64, layers=2)
    a, b = (model(torch.tensor([[1, 2, 3]])).logits[0, -1], model(torch.tensor([[2, 1, 3]])).logits[0, -1])
    assert not torch.allclose(a, b, atol=1e-4)


# Measures


def test_repetition_of_known_texts() -> None:
    assert evaluation.repetition(torch.tensor([[1, 2, 3, 4, 5, 6, 7]])) == {"rep_4": 0.0, "distinct_2": 1.0}
    assert evaluation.repetition(torch.tensor([[7] * 8])) == {
        "rep_4": pytest.approx(4 / 5),
        "distinct_2": pytest.approx(1 / 7),
    }


def test_bits_per_byte_count_the_end_tokens_nats_but_not_as_bytes() -> None:
    class Uniform(torch.nn.Module):
        def forward(self, tokens: Tensor) -> Any:
            return type("Out", (), {"logits": torch.zeros(*tokens.shape, data.VOCAB)})

    batch = data.PackedText.pack([b"abcde"]).batch(torch.tensor([0]), seq_len=6)
    scores = evaluation.held_out(Uniform(), [batch])
    assert scores["nats"] == pytest.approx(math.log(257))
    assert scores["bits_per_byte"] == pytest.approx(math.log2(257) * 6 / 5)


def test_greedy_text_is_the_likeliest_token_each_time() -> None:
    torch.manual_seed(0)
    model = SmallLM(data.VOCAB, width=32, layers=1)
    prompts = torch.randint(0, 256, (2, 5))
    grown = torch.cat((prompts, evaluation.greedy(model, prompts, count=4, context=99)), dim=1)
    assert torch.equal(model(grown[:, :-1]).logits.argmax(-1)[:, 4:], grown[:, 5:])
    assert model.training


# Files


def test_a_crash_while_saving_leaves_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "run.pt"
    files.save({"step": 1}, path)

    def crash(state: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", crash)
    with pytest.raises(OSError, match="disk full"):
        files.save({"step": 2}, path)
    assert files.load(path) == {"step": 1}
    assert [file.name for file in path.parent.iterdir()] == ["run.pt"]


def test_the_log_writes_what_is_not_finite_as_null(tmp_path: Path) -> None:
    log = files.RunLog(tmp_path / "log.jsonl")
    log.add({"step": 1}, {"a": torch.tensor(float("nan")), "b": torch.tensor(0.1)})
    log.fetch()
    assert lines(tmp_path / "log.jsonl") == [{"step": 1, "a": None, "b": 0.1}]


def test_a_resumed_log_drops_what_came_after_the_checkpoint_and_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    files.RunLog(path, resumed_at=2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    files.RunLog(path)
    assert path.read_text() == ""


# Runs


@pytest.mark.usefixtures("small_corpus")
def test_the_log_has_every_step_and_every_term(tmp_path: Path) -> None:
    trainer, screen = run(log=tmp_path / "log.jsonl", checkpoint=tmp_path / "run.pt")
    log = lines(tmp_path / "log.jsonl")
    assert [line["step"] for line in log] == list(range(1, 21))
    assert [line["tokens"] for line in log] == [48 * step for step in range(1, 21)]
    assert [line["step"] for line in log if "held_out/nats" in line] == [8, 16]
    terms = {"main", "ngram_penalty", "immediate_repetition_penalty", "eos_penalty"}
    for line in log:
        assert {"lr", "seconds", "grad_norm", "metrics/temperature", "metrics/accuracy"} < line.keys()
        assert {name for name in line if name.startswith("loss/")} == {f"loss/{name}" for name in terms | {"total"}}
        assert {f"raw/{name}" for name in terms - {"main"}} <= line.keys()
        assert line["loss/total"] == pytest.approx(sum(line[f"loss/{name}"] for name in terms), rel=1e-5)
        assert line["metrics/tokens"] == 48
    assert max(line["lr"] for line in log) == log[2]["lr"]
    assert log[-1]["lr"] < 0.2 * trainer.options.lr
    assert all(text in screen for text in ("nats a token, at τ = 1", "rep-4", "raw/eos_penalty"))
    assert "\x1b" not in screen


@pytest.mark.usefixtures("small_corpus")
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="standard"),
        pytest.param({"grad_accum": 2}, id="accumulated"),
        pytest.param({"preset": "anti_repetition"}, id="anti_repetition"),
        pytest.param({"preset": "mtp"}, id="mtp", marks=once_there("mtp_loss")),
        pytest.param({"preset": "moe"}, id="moe", marks=once_there("moe_balance_loss")),
    ],
)
def test_stopping_and_going_on_changes_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    whole, stopped = ({"log": tmp_path / f"{name}.jsonl", "checkpoint": tmp_path / f"{name}.pt"} for name in "ab")
    straight, straight_screen = run(**changes, **whole)
    run(**changes, **stopped, stop_at=13)
    assert len(lines(stopped["log"])) == 13
    torch.manual_seed(99)
    resumed, resumed_screen = run(**changes, **stopped, resume=True)
    states = [trainer.state_dict() for trainer in (straight, resumed)]
    assert_equal(*({name: value for name, value in state.items() if name != "clock"} for state in states))
    assert untimed(whole["log"]) == untimed(stopped["log"])
    assert straight_screen.split(" after 20 steps")[1] == resumed_screen.split(" after 20 steps")[1]


@pytest.mark.usefixtures("small_corpus")
def test_an_interrupt_finishes_the_step_and_keeps_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, stopped = ({"log": tmp_path / f"{name}.jsonl", "checkpoint": tmp_path / f"{name}.pt"} for name in "ab")
    straight, _ = run(**whole)
    step = example.Trainer.step

    def interrupted(trainer: example.Trainer) -> Any:
        if trainer.steps_done == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return step(trainer)

    monkeypatch.setattr(example.Trainer, "step", interrupted)
    partial, screen = run(**stopped)
    assert partial.steps_done == 7
    assert "stopped after step 7; --resume goes on" in screen
    monkeypatch.undo()
    monkeypatch.setattr(
        example, "load_corpus", lambda: (text([90, 13, 0, 700, 250, 31] * 3, 1), text([80, 200, 60], 2))
    )
    resumed, _ = run(**stopped, resume=True)
    assert_equal(straight.model.state_dict(), resumed.model.state_dict())
    assert untimed(whole["log"]) == untimed(stopped["log"])


@pytest.mark.usefixtures("small_corpus")
def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    run(checkpoint=tmp_path / "run.pt", stop_at=1)
    with pytest.raises(ValueError, match=r"lr was 0\.003, is 0\.1; seed was 0, is 5"):
        run(checkpoint=tmp_path / "run.pt", resume=True, seed=5, lr=0.1)
    with pytest.raises(ValueError, match="holds a run already"):
        run(checkpoint=tmp_path / "run.pt")


@pytest.mark.usefixtures("small_corpus")
def test_micro_batches_add_up_to_one_big_batch(tmp_path: Path) -> None:
    run(batch_size=4, stop_at=1, log=tmp_path / "one.jsonl")
    run(batch_size=2, grad_accum=2, stop_at=1, log=tmp_path / "two.jsonl")
    one, two = untimed(tmp_path / "one.jsonl"), untimed(tmp_path / "two.jsonl")
    assert one == [{name: pytest.approx(value, rel=1e-5, abs=1e-7) for name, value in two[0].items()}]


@pytest.mark.compiled
@pytest.mark.usefixtures("small_corpus")
def test_a_compiled_loss_trains_like_an_eager_one_and_its_temperature_moves() -> None:
    logs = []
    for settings in (EAGER, ("compile.enabled=true", "compile.backend=aot_eager")):
        options = Options(**TINY | {"set": ("primary.temperature.rate=0.05", *settings)})
        trainer, log = example.Trainer(options, example.load_corpus()[0]), files.RunLog(None)
        for _ in range(TINY["steps"]):
            log.add(*trainer.step())
        logs.append([{name: value for name, value in record.items() if name != "seconds"} for record in log.fetch()])
    eager, compiled = logs
    assert eager[-1]["metrics/temperature"] != 1.0
    for one, other in zip(eager, compiled, strict=True):
        assert one == {name: pytest.approx(value, rel=1e-3, abs=1e-4) for name, value in other.items()}


@pytest.mark.usefixtures("small_corpus")
def test_steps_do_not_wait_for_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = example.Trainer(Options(**TINY), example.load_corpus()[0])
    log = files.RunLog(None)

    def wait(*_: object) -> None:
        raise AssertionError("a step waited for the device")

    with monkeypatch.context() as patch:
        for name in ("item", "tolist", "__float__", "__int__", "__bool__"):
            patch.setattr(Tensor, name, wait)
        for _ in range(3):
            log.add(*trainer.step())
    assert [record["step"] for record in log.fetch()] == [1, 2, 3]


@pytest.mark.usefixtures("small_corpus")
def test_a_time_budget_ends_the_run_and_its_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count(step=0.5)
    monkeypatch.setattr(control, "perf_counter", lambda: next(ticks))  # half a second for each stretch
    trainer, screen = run(steps=None, minutes=0.2, log=tmp_path / "log.jsonl")
    log = lines(tmp_path / "log.jsonl")
    assert trainer.done == 1
    assert 12 <= trainer.clock.counted < 13
    assert 15 < len(log) < 25  # the first step is not counted; fetching and logging are
    assert log[-1]["lr"] < 0.12 * trainer.options.lr
    assert "bits per byte" in screen


@pytest.mark.usefixtures("small_corpus")
def test_a_terminal_gets_a_live_panel_and_no_colour_where_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = Terminal()
    example.train(Options(**TINY), Console(file=screen, width=100, force_terminal=True))
    shown = screen.getvalue()
    assert all(text in shown for text in ("\x1b[?25l", "eos_penalty", "tokens/s"))
    assert not any(f"\x1b[{colour}m" in shown for colour in (*range(30, 38), *range(90, 98)))


def test_a_value_that_is_not_finite_does_not_stop_the_display() -> None:
    with Display(Console(file=io.StringIO())) as display:
        display.show({"step": 1, "tokens": 1, "seconds": 0.1, "lr": 0.1, "loss/total": None}, 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "--steps must be above 0"),
        (["--resume"], "--resume needs --checkpoint"),
        (["--lr", "fast"], "invalid float value"),
    ],
)
def test_wrong_options_are_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_the_options_as_parsed_are_the_defaults() -> None:
    assert parse([]) == Options()
    assert parse(["--set", "a=1", "--set", "b=2"]) == dataclasses.replace(Options(), set=("a=1", "b=2"))


@pytest.mark.usefixtures("small_corpus")
@pytest.mark.parametrize("arguments", [["--preset", "standrad"], ["--width", "33"], ["--set", "terms.z_loss.wieght=1"]])
def test_what_cannot_run_ends_with_a_message_and_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert example.main([*arguments, "--steps", "1"]) == 2
    assert len(capsys.readouterr().err) > 20


def test_the_script_runs(tmp_path: Path) -> None:
    arguments = (
        "--steps 3 --batch-size 2 --seq-len 32 --layers 1 --width 32 --eval-batches 2 --sample 4 --log log.jsonl"
    )
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "train_small_lm.py"), *arguments.split(), "--set", *EAGER],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "standard after 3 steps, 192 tokens" in done.stdout
    assert len(lines(tmp_path / "log.jsonl")) == 3
