"""What :func:`tests.distributed.training.train_rank` does, by a DeepSpeed engine."""

from __future__ import annotations

import os

import torch

from tests.distributed.training import Job, Outcome, Trained, batch_of, rows_of, whole


def train_zero(job: Job, stage: int, port: int) -> Outcome:
    """Train as one of the ranks, with optimizer states, gradients or parameters sharded (stages 1, 2, 3)."""
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    os.environ.update(
        DS_ACCELERATOR="cpu", RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_SIZE=str(world),
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
    )  # fmt: skip
    import deepspeed

    deepspeed.init_distributed("gloo", verbose=False)
    trained = Trained(job.preset, job.settings).float()
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.2)
    engine, *_ = deepspeed.initialize(
        model=trained,
        optimizer=optimizer,
        config={
            "train_micro_batch_size_per_gpu": 1,
            "zero_optimization": {"stage": stage},
            "zero_allow_untested_optimizer": True,
        },
    )
    if stage == 3 and trained.loss.heads is not None:  # the loss reads its heads' parameters, not through their modules
        for parameter in trained.loss.heads.parameters():
            deepspeed.zero.register_external_parameter(trained.loss, parameter)
    losses = []
    for number in range(job.start, job.start + job.steps):
        (piece,) = rows_of(batch_of(number, job), job, rank)
        loss = engine(piece)
        engine.backward(loss)
        engine.step()
        losses.append(loss.item())
    with deepspeed.zero.GatheredParameters(list(trained.parameters()), enabled=stage == 3):
        parameters = {name: whole(p) for name, p in trained.named_parameters()}
    return Outcome(losses, {}, parameters, {name: b.clone() for name, b in trained.loss.named_buffers()})
