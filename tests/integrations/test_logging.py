"""Loggers: what stands in the file, when the device is read, and what happens to files that are there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ava import Loss
from ava.errors import ArgumentTypeError, ArgumentValueError, AvaError, SourceError
from ava.integrations.logging import JsonlLogger, TensorBoardLogger, WandbLogger

LOSS = {"version": 1, "terms": {"z_loss": {}}, "compile": {"enabled": False}}


def answer(value: float = 0.0) -> Any:
    logits = torch.full((1, 3, 5), value, requires_grad=True)
    return Loss.load(LOSS)(logits, torch.zeros(1, 3, dtype=torch.int64), return_detailed=True)


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def lines(path: Path) -> list[dict[str, Any]]:
    return [strict(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_holds_every_value_of_a_step(tmp_path: Path) -> None:
    path, out = tmp_path / "deep" / "run.jsonl", answer()
    with JsonlLogger(path) as logger:
        logger.log(7, out, lr=1e-3)
    (line,) = lines(path)
    assert line["step"] == 7
    assert line["lr"] == 1e-3
    assert line["time"] > 1e9
    assert "nonfinite" not in line
    for name, value in out.log_dict().items():
        assert line[name] == pytest.approx(float(value))
    assert list(line)[:2] == ["step", "loss/total"]
    assert line["metrics/tokens"] == 3
    assert isinstance(line["metrics/tokens"], int)
    assert {"loss/main", "loss/z_loss", "raw/z_loss", "metrics/accuracy"} <= set(line)


def test_nothing_is_read_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    for name in ("item", "tolist", "__float__", "__int__", "__bool__", "cpu", "numpy"):
        original = getattr(torch.Tensor, name)

        def spy(self: Any, *rest: Any, original: Any = original, name: str = name) -> Any:
            reads.append(name)
            return original(self, *rest)

        monkeypatch.setattr(torch.Tensor, name, spy)
    out, path = answer(), tmp_path / "run.jsonl"
    reads.clear()
    logger = JsonlLogger(path, every=3)
    for step in (1, 2):
        logger.log(step, out)
    assert reads == []
    assert path.read_text() == ""
    logger.log(3, out)
    assert reads == ["tolist", "tolist"]  # float32 and int64, for three steps
    assert [line["step"] for line in lines(path)] == [1, 2, 3]


def test_a_value_is_that_of_its_step(tmp_path: Path) -> None:
    buffer = torch.tensor(1.0)
    with JsonlLogger(tmp_path / "run.jsonl") as logger:
        logger.log(1, {"x": buffer})
        buffer.fill_(2.0)
        logger.log(2, {"x": buffer, "y": torch.tensor([3])})
    first, second = lines(tmp_path / "run.jsonl")
    assert (first["x"], second["x"], second["y"]) == (1.0, 2.0, 3)
    assert "y" not in first


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    with JsonlLogger(tmp_path / "run.jsonl") as logger:
        logger.log(1, {"a": torch.tensor(float("nan")), "b": float("inf"), "c": 1.0})
    (line,) = lines(tmp_path / "run.jsonl")
    assert (line["a"], line["b"], line["c"]) == (None, None, 1.0)
    assert line["nonfinite"] == ["a", "b"]


def test_a_resumed_run_appends(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    for step in (1, 2):
        with JsonlLogger(path) as logger:
            logger.log(step, {"loss/total": 1.0})
    assert [line["step"] for line in lines(path)] == [1, 2]


def test_a_line_cut_short_keeps_to_itself(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"step": 1, "loss/total": 1.0}\n{"step": 2, "loss/to', encoding="utf-8")
    with JsonlLogger(path) as logger:
        logger.log(2, {"loss/total": 2.0})
    first, cut, last = path.read_text().splitlines()
    assert (strict(first)["step"], cut, strict(last)["loss/total"]) == (1, '{"step": 2, "loss/to', 2.0)


def test_another_kind_of_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine\n", encoding="utf-8")
    with pytest.raises(ArgumentValueError, match="holds no JSON lines"):
        JsonlLogger(path)
    assert path.read_text(encoding="utf-8") == "mine\n"
    with pytest.raises(SourceError, match="cannot be written"):
        JsonlLogger(tmp_path)


def test_an_error_inside_still_writes_what_is_kept(tmp_path: Path) -> None:
    logger = JsonlLogger(tmp_path / "run.jsonl")
    logger.log(1, {"x": 1.0})
    with pytest.raises(ZeroDivisionError), logger:
        raise ZeroDivisionError
    assert lines(tmp_path / "run.jsonl")[0]["x"] == 1.0
    with pytest.raises(ArgumentValueError, match="closed"):
        logger.log(2, {"x": 1.0})


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda logger: logger.log(1, {"x": torch.zeros(2)}), r"`x`.*\[2\]"),
        (lambda logger: logger.log(1, {"x": "high"}), "`x`.*str"),
        (lambda logger: logger.log(1, {"x": True}), "`x`.*bool"),
        (lambda logger: JsonlLogger(logger.path, every=0), "`every`.*0"),
    ],
)
def test_wrong_values(tmp_path: Path, call: Any, part: str) -> None:
    with pytest.raises((ArgumentValueError, ArgumentTypeError), match=part) as error:
        call(JsonlLogger(tmp_path / "run.jsonl"))
    assert isinstance(error.value, AvaError)


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(tmp_path))
    with TensorBoardLogger(writer, every=2) as logger:
        for step in range(3):
            logger.log(step, answer(), lr=0.1 * step)
    writer.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert {"loss/total", "loss/main", "loss/z_loss", "raw/z_loss", "metrics/accuracy", "lr"} <= set(
        events.Tags()["scalars"]
    )
    rates = events.Scalars("lr")
    assert [event.step for event in rates] == [0, 1, 2]
    assert [event.value for event in rates] == pytest.approx([0, 0.1, 0.2])


class Run:
    """Stands for a run of Weights & Biases: it keeps what it is given, and refuses steps that fall."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []

    def log(self, values: dict[str, float], step: int) -> None:
        assert not self.logged or step >= self.logged[-1][0]
        assert all(type(value) in (int, float) for value in values.values())
        self.logged.append((step, values))


def test_weights_and_biases() -> None:
    run = Run()
    with WandbLogger(run, every=2) as logger:
        for step in range(3):
            logger.log(step, answer())
        assert [step for step, _ in run.logged] == [0, 1]
    assert [step for step, _ in run.logged] == [0, 1, 2]
    assert list(run.logged[0][1])[:3] == ["loss/total", "loss/main", "loss/z_loss"]


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    program = (
        "import sys, torch.distributed as d; from ava.integrations.logging import JsonlLogger\n"
        "d.init_process_group('gloo', init_method='file://' + sys.argv[1], rank=int(sys.argv[2]), world_size=2)\n"
        "with JsonlLogger(sys.argv[3] + sys.argv[2]) as logger: logger.log(1, {'x': 1.0})\n"
        "d.barrier(); d.destroy_process_group()"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "store"), rank, str(tmp_path / "run")])
        for rank in "01"
    ]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert lines(tmp_path / "run0")[0]["x"] == 1.0
    assert not (tmp_path / "run1").exists()
