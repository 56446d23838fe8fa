"""Peak memory of one step above its inputs and their gradients, each in a process of its own.

    python benchmarks/memory.py [--rows 2048] [--hidden-size 768] [--vocab-size 50257] [--threads 2]

How: the process takes two steps of 16 and of 24 rows, which compile everything for any number of rows, and lets go of
their memory. Then it makes the inputs of the real shape and writes every page of them, so that they are resident, sets
the kernel's record of the largest resident size back (5 into ``/proc/self/clear_refs``), takes one step of forward
and backward, and reads the record (``VmHWM`` in ``/proc/self/status``). From the rise the bytes of the gradients of the
inputs, which any loss has to make, are taken off; what is left is divided by the bytes of the logits. Compiling is not
in it, and a step that compiled again stops the process.

The library of matrix products makes work space in its first large product and keeps it. A process that trains a model
has it before the loss is called, so three products of 256 rows with the head run beforehand; the record says how much
that made resident ("library"), and a reader who counts it to the loss adds it.

``MALLOC_ARENA_MAX=1`` and fixed ``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_TRIM_THRESHOLD_`` make the C library return
what is freed, so that resident memory is memory in use. As a cross-check, a second step is recorded by torch's own
allocator events, whose peak counts tensors alone; it stands in the record beside the first figure.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ava
from ava.run.dry_run.instruments import Counters, peak_bytes
from benchmarks.harness import Row, fresh, parser, report
from benchmarks.linear import heads
from benchmarks.logits import CONFIG, batch

MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
FUTURE = 3
LOGITS, LINEAR, MTP = "logits, all terms", "linear, all terms", f"linear, all terms and {FUTURE} MTP heads"
CASES = (
    LOGITS,
    LINEAR,
    MTP,
    "logits, eager F.cross_entropy",
    "linear + cross_entropy, eager",
    "F.linear_cross_entropy, its defaults",
)
Call = tuple[Callable[[], torch.Tensor], list[torch.Tensor]]


def caller(case: str, hidden_size: int, vocab_size: int) -> Callable[[int], Call]:
    """Return what makes the step of a number of rows: a callable, and the inputs whose gradients it takes."""
    terms = {**CONFIG["terms"], **({"mtp_loss": {"num_future_tokens": FUTURE}} if case == MTP else {})}
    model = {"vocab_size": vocab_size, "eos_token_id": vocab_size - 1, "hidden_size": hidden_size}
    loss = ava.Loss.load({**CONFIG, "terms": terms}, **model)
    if case.startswith("logits"):

        def of_logits(rows: int) -> Call:
            logits, targets = batch(rows, vocab_size, torch.float32)
            if case == LOGITS:
                return lambda: loss(logits, targets), [logits]
            return lambda: F.cross_entropy(logits.flatten(0, 1), targets.flatten()), [logits]

        return of_logits

    def of_hidden(rows: int) -> Call:
        hidden, weight, targets = heads(rows, hidden_size, vocab_size)
        leaves = [hidden, weight]
        if case == "linear + cross_entropy, eager":
            return lambda: F.cross_entropy(F.linear(hidden.flatten(0, 1), weight), targets.flatten()), leaves
        if case.startswith("F."):
            options = torch.nn.LinearCrossEntropyOptions()
            flat = targets.flatten()
            return lambda: F.linear_cross_entropy(hidden.flatten(0, 1), weight, flat, options=options), leaves
        more = {}
        if case == MTP:
            more["mtp_hidden_states"] = torch.randn(FUTURE, *hidden.shape, requires_grad=True)
            leaves.append(more["mtp_hidden_states"])
        return lambda: loss(hidden_states=hidden, lm_head=weight, targets=targets, **more), leaves

    return of_hidden


def status(field: str) -> int:
    """Return a size in bytes from ``/proc/self/status``."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{field}:")).split()[1])


def let_go() -> None:
    """Return freed memory to the system."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def work_space(hidden_size: int, vocab_size: int) -> int:
    """Make the library of matrix products take its work space, and return its bytes."""
    hidden, weight = torch.ones(256, hidden_size), torch.ones(vocab_size, hidden_size)
    logits, gradient = torch.ones(256, vocab_size), torch.ones(vocab_size, hidden_size)
    let_go()
    before = status("VmRSS")
    torch.mm(hidden, weight.T, out=logits)
    hidden.addmm_(logits, weight)
    gradient.addmm_(logits.T, hidden)
    let_go()
    return status("VmRSS") - before


def alone(case: str, rows: int, hidden_size: int, vocab_size: int) -> dict[str, int]:
    """Return the bytes of one case; to be called in a process that did nothing else."""
    call_of = caller(case, hidden_size, vocab_size)
    for few in (16, 24):
        call, leaves = call_of(few)
        call().backward()
    del call, leaves
    library = work_space(hidden_size, vocab_size)
    call, leaves = call_of(rows)
    let_go()
    counted = Counters()
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    call().backward()
    resident = status("VmHWM") - before
    assert counted.graphs() == 0, f"{case}: compiled again for {rows} rows"
    gradients = sum(leaf.nbytes for leaf in leaves)
    for leaf in leaves:
        assert leaf.grad is not None
        leaf.grad = None
    let_go()
    allocated = peak_bytes(lambda: call().backward(), torch.device("cpu"))
    return {
        "resident": resident - gradients,
        "allocated": allocated - gradients,
        "library": library,
        "logits": rows * vocab_size * 4,
    }


def main() -> None:
    """Measure every case, print and record."""
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=2048)
    made.add_argument("--hidden-size", type=int, default=768)
    made.add_argument("--vocab-size", type=int, default=50257)
    made.add_argument("--case", choices=CASES, help="measure this one here, and print JSON")
    options = made.parse_args()
    if options.quick:
        options.rows, options.hidden_size, options.vocab_size = 512, 32, 2003
    torch.set_num_threads(options.threads)
    sizes = (options.rows, options.hidden_size, options.vocab_size)
    if options.case:
        print(json.dumps(alone(options.case, *sizes)))
        return
    if not Path("/proc/self/clear_refs").exists():
        print("memory: needs Linux, whose kernel keeps the record that this reads")
        return
    sized = [f"--{name}={size}" for name, size in zip(("rows", "hidden-size", "vocab-size"), sizes, strict=True)]
    sized.append(f"--threads={options.threads}")
    taken = {case: fresh([__file__, "--case", case, *sized], **MALLOC) for case in CASES}
    share = {case: figures["resident"] / figures["logits"] for case, figures in taken.items()}
    # the gradient of the logits is that of an input, and what the goal of their engine speaks of
    share |= {case: share[case] + 1 for case in CASES if case.startswith("logits")}
    shape = " × ".join(map(str, sizes))
    of = "÷ bytes of the logits"
    rows = [
        Row(f"{LINEAR}: above inputs and their gradients {of}", 0.15, share[LINEAR], shape),
        Row(f"{MTP}: the same less that without MTP", 0.02, share[MTP] - share[LINEAR], shape),
        Row(f"{LOGITS}: above inputs {of}", 1.05, share[LOGITS], f"{sizes[0]} × {sizes[2]}"),
        *(Row(f"{case}: the same", None, share[case], shape) for case in CASES[3:]),
    ]
    report("memory", rows, {}, options, bytes=taken)


if __name__ == "__main__":
    main()
