"""Real text that every machine has: the sources of the running interpreter's standard library, as bytes."""

from __future__ import annotations

import sysconfig
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

END = 256  # closes every document, and stands before the first
VOCAB = 257
HELD_OUT_ONE_IN = 16
LEFT_OUT = frozenset({"test", "tests", "idlelib", "site-packages", "dist-packages", "__pycache__"})


class Batch(NamedTuple):
    inputs: Tensor  # [B, T]
    targets: Tensor  # [B, T], the inputs one to the left
    segments: Tensor  # [B, T], the document that each target belongs to


def standard_library() -> tuple[Path, list[str]]:
    """The library's folder and the relative paths of its sources, sorted."""
    root = Path(sysconfig.get_path("stdlib"))
    found = (path.relative_to(root) for path in root.rglob("*.py"))
    return root, sorted(path.as_posix() for path in found if LEFT_OUT.isdisjoint(path.parts))


def is_held_out(path: str) -> bool:
    """By the top-level module or package, so that near-copies within a package are never on both sides."""
    return zlib.crc32(path.split("/", 1)[0].encode()) % HELD_OUT_ONE_IN == 0


@dataclass(frozen=True)
class PackedText:
    """Documents end to end: `END doc END doc END …`, with the number of the document that each token belongs to.

    An end-of-document token belongs to the document that it closes, and as an input it stands before the
    next one's first token. A window's segments are those of its targets, so that token starts the new segment.
    """

    tokens: Tensor  # [N] int64
    documents: Tensor  # [N] int64

    @classmethod
    def pack(cls, documents: Iterable[bytes]) -> PackedText:
        stored = [document for document in documents if document]
        parts = [torch.tensor([END], dtype=torch.int64)]
        for document in stored:
            parts += [torch.frombuffer(bytearray(document), dtype=torch.uint8).long(), torch.tensor([END])]
        lengths = torch.tensor([len(document) + 1 for document in stored], dtype=torch.int64)
        numbers = torch.arange(len(stored)).repeat_interleave(lengths)
        return cls(torch.cat(parts), torch.cat((numbers[:1], numbers)))

    def to(self, device: torch.device) -> PackedText:
        return PackedText(self.tokens.to(device), self.documents.to(device))

    def windows(self, seq_len: int) -> int:
        return (len(self.tokens) - 1) // seq_len

    def batch(self, numbers: Tensor, seq_len: int) -> Batch:
        """The windows of these numbers `[B]`; every token is a target once."""
        places = (numbers[:, None] * seq_len + torch.arange(seq_len + 1)).to(self.tokens.device)
        tokens, documents = self.tokens[places], self.documents[places]
        return Batch(tokens[:, :-1], tokens[:, 1:], documents[:, 1:])

    def spread(self, batch_size: int, batches: int, seq_len: int) -> list[Batch]:
        """Evenly spaced windows, the same at every call."""
        numbers = torch.linspace(0, self.windows(seq_len) - 1, batches * batch_size, dtype=torch.float64).long()
        return [self.batch(part, seq_len) for part in numbers.view(batches, batch_size)]

    def fingerprint(self) -> int:
        return zlib.crc32(self.tokens.to("cpu", torch.int16).numpy().tobytes())


def load_corpus(files: int | None = None) -> tuple[PackedText, PackedText]:
    """Text to train on, and text held out from it; of each the first `files` sources, or all."""
    root, paths = standard_library()
    sides = [[path for path in paths if is_held_out(path) is held_out][:files] for held_out in (False, True)]
    training, held_out = (PackedText.pack((root / path).read_bytes() for path in side) for side in sides)
    return training, held_out


class Shuffled:
    """An endless stream of batches, each epoch in its own order. Where it stands is one number."""

    def __init__(self, text: PackedText, batch_size: int, seq_len: int, seed: int) -> None:
        self.text, self.batch_size, self.seq_len, self.seed = (text, batch_size, seq_len, seed)
        self.per_epoch = text.windows(seq_len) // batch_size
        if not self.per_epoch:
            raise ValueError(
                f"the text has {text.windows(seq_len)} rows of {seq_len} tokens, fewer than a batch of {batch_size}"
            )
        self.position = 0
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    def order(self, epoch: int) -> Tensor:
        if self._order[0] != epoch:
            dice = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = (epoch, torch.randperm(self.text.windows(self.seq_len), generator=dice))
        return self._order[1]

    def __iter__(self) -> Iterator[Batch]:
        while True:
            epoch, place = divmod(self.position, self.per_epoch)
            numbers = self.order(epoch)[place * self.batch_size : (place + 1) * self.batch_size]
            self.position += 1
            yield self.text.batch(numbers, self.seq_len)

    def take(self, count: int) -> list[Batch]:
        return list(islice(iter(self), count))
