"""What each of two ranks runs, and the same call on one process: the answers of both, to be compared.

Run as ``python ranks.py RANK RENDEZVOUS ANSWERS``. Every case is made from its own seed, so that all ranks and the
whole process draw the same tensors.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.utils._python_dispatch import TorchDispatchMode

from ava.compile.heads import head_logits
from ava.run.loss import Loss

RANKS = 2
BATCH, LENGTH, HIDDEN, EXPERTS = 2, 12, 8, 8
PRESETS = ("standard", "moe", "anti_repetition", "mtp", "fast_prototype", "production")
WAYS = ("logits dtensor", "logits plain", "head dtensor", "head plain")
EVERY_TERM = {
    "version": 1,
    "primary": {"type": "deepseek", "label_smoothing": 0.1, "temperature": {"initial": 1.2, "adaptive": True}},
    "terms": {
        "focal_loss": {},
        "z_loss": {},
        "token_diversity_loss": {},
        "immediate_repetition_penalty": {},
        "ngram_penalty": {"size": 2},
        "eos_penalty": {},
        "distillation_loss": {},
        "contrastive_loss": {},
    },
    "balancing": "uncertainty",
}
CAPPED = {"version": 1, "model": {"logit_softcap": 4.0, "logit_scale": 0.5}, "terms": {"z_loss": {}}}
TIED = {"version": 1, "terms": {"mtp_loss": {"heads": "tied", "weighting": "adaptive"}}}
THROUGH_HEAD = {"version": 1, "terms": {"mtp_loss": {}}}
CERTAIN = {"version": 1, "terms": {"immediate_repetition_penalty": {}, "token_diversity_loss": {}, "eos_penalty": {}}}
CASES: dict[str, Any] = {
    **{name: name for name in PRESETS},
    "every term": EVERY_TERM,
    "capped": CAPPED,
    "tied": TIED,
    "mtp through the head": THROUGH_HEAD,
    "mtp logits": THROUGH_HEAD,
    "certain": CERTAIN,
    "padded": "standard",
}


class Collectives(TorchDispatchMode):
    """Counts reductions over ranks."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "_c10d_functional.all_reduce" in str(function):
            self.count += 1
        assert "all_gather" not in str(function)
        return function(*args, **(kwargs or {}))


class Case:
    """One configuration, its tensors, and how they are split."""

    def __init__(self, name: str, chunk: int | str = "auto") -> None:
        torch.manual_seed(7)
        self.vocab, self.width = (29, 33) if name == "padded" else (29, 29)
        padded = {"padded_vocab_size": self.width} if name == "padded" else {}
        overrides = {"compile.enabled": False, "compile.chunk_tokens": chunk}
        model = {"vocab_size": self.vocab, "eos_token_id": 3, "hidden_size": HIDDEN, **padded}
        if name in ("mtp through the head", "mtp logits"):
            del model["hidden_size"]
        self.loss = Loss.load(CASES[name], overrides=overrides, **model)
        if self.loss.heads is not None:
            self.loss.heads.double()
        self.targets = torch.randint(self.vocab, (BATCH, LENGTH))
        self.targets[:, 5:8] = self.targets[:, 2:5]
        self.targets[0, :2] = -100
        self.targets[1, 8:10] = self.targets[1, 7]
        self.hidden = torch.randn(BATCH, LENGTH, HIDDEN, dtype=torch.float64)
        self.weight = torch.randn(self.width, HIDDEN, dtype=torch.float64)
        if name == "certain":  # probabilities of 1 up to the last bit, on either rank
            self.weight *= 40
        self.bias = torch.randn(self.width, dtype=torch.float64)
        self.extras: dict[str, Tensor] = {}
        inputs = self.loss.plan.inputs
        if "teacher_logits" in inputs:
            self.extras["teacher_logits"] = torch.randn(BATCH, LENGTH, self.width, dtype=torch.float64)
        if "gate_logits" in inputs:
            self.extras["gate_logits"] = torch.randn(BATCH, LENGTH, EXPERTS, dtype=torch.float64)
        if "expert_outputs" in inputs:
            self.extras["expert_outputs"] = torch.randn(EXPERTS, BATCH, LENGTH, HIDDEN, dtype=torch.float64)
        if name == "mtp through the head":
            self.extras["mtp_hidden_states"] = torch.randn(3, BATCH, LENGTH, HIDDEN, dtype=torch.float64)
        if name == "mtp logits":
            self.extras["mtp_logits"] = torch.randn(3, BATCH, LENGTH, self.width, dtype=torch.float64)

    @property
    def reads_head(self) -> bool:
        """Whether a term reads the head beside the logits."""
        terms = self.loss.config.terms
        return "mtp_hidden_states" in self.extras or (terms.mtp_loss is not None and terms.mtp_loss.heads == "tied")

    def run(self, way: str, mesh: DeviceMesh | None, *, compiled: bool = False) -> dict[str, Tensor]:
        """Return the answer and every gradient of this rank; without a mesh, of the whole."""
        engine, kind = way.split()
        each = -(-self.width // RANKS)
        rank = dist.get_rank() if mesh is not None else 0
        here = slice(0, self.width) if mesh is None else slice(rank * each, min((rank + 1) * each, self.width))

        def leaf(value: Tensor, dimension: int | None) -> tuple[Tensor, Any]:
            part = value
            if dimension is not None:
                part = value.narrow(dimension, here.start, here.stop - here.start)
            part = part.clone().requires_grad_()
            if mesh is None or kind == "plain":
                return part, part
            placement = Replicate() if dimension is None else Shard(dimension)
            shape, stride = value.shape, value.contiguous().stride()
            return part, DTensor.from_local(part, mesh, [placement], run_check=False, shape=shape, stride=stride)

        leaves: dict[str, Tensor] = {}
        given: dict[str, Any] = {"targets": self.targets}

        def give(name: str, value: Tensor, dimension: int | None) -> None:
            leaves[name], given[name] = leaf(value, dimension)

        if engine == "logits":
            model = self.loss.config.model
            logits = head_logits(self.hidden, self.weight, self.bias, model.logit_scale, model.logit_softcap)
            give("logits", logits, 2)
            if "hidden_states" in self.loss.plan.inputs and "mtp_hidden_states" not in self.extras:
                give("hidden_states", self.hidden, None)
            if self.reads_head:
                give("lm_head", self.weight, 0)
                give("lm_head_bias", self.bias, 0)
        else:
            give("hidden_states", self.hidden, None)
            give("lm_head", self.weight, 0)
            give("lm_head_bias", self.bias, 0)
        for name, value in self.extras.items():
            if name == "teacher_logits":
                given[name] = value  # whole: the loss takes this rank's part
            elif name == "mtp_logits":
                give(name, value, 3)
            elif name == "mtp_hidden_states":
                give(name, value, None)
            else:
                leaves[name] = given[name] = value.clone().requires_grad_()
        if mesh is not None and kind == "plain":
            given["process_group"] = mesh.get_group(0)
        config = self.loss.config
        if compiled:
            config = config.model_copy(update={"compile": config.compile.model_copy(update={"enabled": True})})
        loss = Loss(config)
        loss.load_state_dict(self.loss.state_dict())
        if loss.heads is not None:
            loss.heads.double()
            loss.heads.load_state_dict(self.loss.heads.state_dict())
        collectives = Collectives()
        with nullcontext() if compiled else collectives:  # nothing compiles under a dispatch mode
            out = loss(**given, return_detailed=True)
            (out["total_loss"] * 2).backward()
        answer = {name: value.detach() for name, value in out.items()}
        whole = {"logits": 2, "lm_head": 0, "lm_head_bias": 0, "mtp_logits": 3}
        for name, value in leaves.items():
            gradient = torch.zeros_like(value) if value.grad is None else value.grad
            if mesh is not None and name in whole:  # put the ranks' parts side by side
                parts = [torch.zeros(0)] * RANKS
                dist.all_gather_object(parts, gradient)
                gradient = torch.cat(parts, whole[name])
            answer[f"gradient of {name}"] = gradient
        for name, value in loss.named_parameters():
            if value.grad is not None:
                answer[f"gradient of {name}"] = value.grad
        answer.update({f"state {name}": value for name, value in loss.state.tensors().items()})
        answer["collectives"] = torch.tensor(collectives.count)
        return answer


def cases() -> Iterator[tuple[str, str, int | str]]:
    """Yield every case, way and size of a chunk."""
    for name in CASES:
        for way in WAYS:
            yield name, way, 7 if way.startswith("head") else "auto"


def main() -> None:
    """Run every case on this rank, or with a fourth argument the compiled one, and write the answers."""
    rank, rendezvous, answers = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=RANKS)
    mesh = init_device_mesh("cpu", (RANKS,), mesh_dim_names=("tp",))
    if len(sys.argv) > 4:
        found = {way: Case("certain", 7).run(way, mesh, compiled=True) for way in ("logits plain", "head plain")}
    else:
        found = {f"{name} / {way}": Case(name, chunk).run(way, mesh) for name, way, chunk in cases()}
    torch.save(found, answers / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
