"""A vocabulary split over two real processes gives what one process gives."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from ava.errors import ArgumentTypeError, ArgumentValueError
from ava.run.loss import Loss
from tests.vocab_parallel.ranks import BATCH, LENGTH, RANKS, Case, cases

RANKS_PY = Path(__file__).with_name("ranks.py")
ROOT = Path(__file__).resolve().parents[2]
Answers = list[dict[str, dict[str, Tensor]]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What every rank found, for every case."""
    return run_ranks(tmp_path_factory.mktemp("ranks"))


def run_ranks(folder: Path, *more: str) -> Answers:
    """Start the ranks, wait for them, and return what each wrote."""
    command = [sys.executable, str(RANKS_PY)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(folder / "rendezvous"), str(folder), *more],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(RANKS)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


def close(answer: dict[str, Tensor], whole: dict[str, Tensor], rank: int) -> None:
    """Compare a rank's answer with that of one process."""
    assert answer.keys() == whole.keys()
    for key, expected in whole.items():
        if key != "collectives":
            where = f"rank {rank}: {key}"
            torch.testing.assert_close(
                answer[key], expected, rtol=1e-9, atol=1e-11, msg=lambda text, where=where: f"{where}: {text}"
            )


@pytest.mark.parametrize(("name", "way", "chunk"), list(cases()))
def test_two_ranks_equal_one_process(answers: Answers, name: str, way: str, chunk: int | str) -> None:
    whole = Case(name, chunk).run(way, None)
    for rank, found in enumerate(answers):
        close(found[f"{name} / {way}"], whole, rank)


@pytest.mark.compiled
def test_two_ranks_compiled(tmp_path: Path) -> None:
    for rank, found in enumerate(run_ranks(tmp_path, "compiled")):
        for way, answer in found.items():
            close(answer, Case("certain", 7).run(way, None), rank)


@pytest.mark.parametrize(("name", "way", "chunk"), list(cases()))
def test_only_the_planned_collectives_happen(answers: Answers, name: str, way: str, chunk: int | str) -> None:
    case = Case(name, chunk)
    head = way.startswith("head")
    through = "lm_head" if case.reads_head else "logits" if "mtp_logits" in case.extras else None
    planned = case.loss.plan.collectives(BATCH * LENGTH, chunk=int(chunk) if head else None, heads=through)
    for found in answers:
        assert int(found[f"{name} / {way}"]["collectives"]) == planned


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceMesh]:
    """A mesh of this process alone, on which tensors can be placed."""
    rendezvous = tmp_path_factory.mktemp("alone") / "rendezvous"
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@pytest.fixture
def loss_fn() -> Loss:
    return Loss.load({"version": 1}, overrides={"compile.enabled": False}, vocab_size=9)


def test_logits_spread_over_positions_are_refused(mesh: DeviceMesh, loss_fn: Loss) -> None:
    logits = distribute_tensor(torch.zeros(2, 4, 9), mesh, [Shard(1)])
    with pytest.raises(ArgumentValueError, match=r"`logits` should be replicated, or sharded on the vocabulary"):
        loss_fn(logits, torch.zeros(2, 4, dtype=torch.int64))


def test_targets_spread_over_rows_are_refused(mesh: DeviceMesh, loss_fn: Loss) -> None:
    targets = distribute_tensor(torch.zeros(2, 4, dtype=torch.int64), mesh, [Shard(0)])
    with pytest.raises(ArgumentValueError, match="`targets` should be whole on every rank"):
        loss_fn(torch.zeros(2, 4, 9), targets)


def test_replicated_tensors_are_whole_here(mesh: DeviceMesh, loss_fn: Loss) -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 4, 9), torch.randint(9, (2, 4))
    placed = [distribute_tensor(value, mesh, [Replicate()]) for value in (logits, targets)]
    assert torch.equal(loss_fn(*placed), loss_fn(logits, targets))


def test_a_head_that_fsdp_has_sharded_is_refused(mesh: DeviceMesh, loss_fn: Loss) -> None:
    head = distribute_tensor(torch.zeros(9, 3), mesh, [Shard(0)])
    with pytest.raises(ArgumentValueError, match=r"If that is FSDP's doing, gather it first"):
        loss_fn(hidden_states=torch.zeros(2, 4, 3), lm_head=head, targets=torch.zeros(2, 4, dtype=torch.int64))


def test_a_plain_shard_needs_the_size_of_the_vocabulary(mesh: DeviceMesh) -> None:
    open_size = Loss.load({"version": 1}, overrides={"compile.enabled": False})
    with pytest.raises(ArgumentValueError, match=r"set `model.vocab_size`"):
        open_size(torch.zeros(2, 4, 9), torch.zeros(2, 4, dtype=torch.int64), process_group=mesh.get_group(0))


def test_a_shard_of_another_width_is_refused(mesh: DeviceMesh, loss_fn: Loss) -> None:
    with pytest.raises(ArgumentValueError, match=r"`logits` should hold 9 of the vocabulary columns on rank 0 of 1"):
        loss_fn(torch.zeros(2, 4, 8), torch.zeros(2, 4, dtype=torch.int64), process_group=mesh.get_group(0))


def test_a_process_group_is_one(loss_fn: Loss) -> None:
    with pytest.raises(ArgumentTypeError, match=r"`process_group` should be a `torch.distributed.ProcessGroup`"):
        loss_fn(torch.zeros(2, 4, 9), torch.zeros(2, 4, dtype=torch.int64), process_group="tp")
