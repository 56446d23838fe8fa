"""How much texts repeat themselves. A text is a list of token numbers; no torch here."""

from __future__ import annotations

from collections.abc import Sequence

REPEATS, SHORTEST_LOOP = 4, 32
MIN_LENGTH = 20  # an end before this many tokens is premature: `min_length` of `standard`

Text = Sequence[int]


def grams(text: Text, n: int) -> list[tuple[int, ...]]:
    return list(zip(*(text[start:] for start in range(n)), strict=False))


def repeated(text: Text, n: int) -> float:
    """rep-n, which for one continuation is seq-rep-n (Welleck et al., 2020): the share of n-grams seen before in it."""
    found = grams(text, n)
    return 1 - len(set(found)) / len(found) if found else 0.0


def distinct(texts: Sequence[Text], n: int) -> float:
    """distinct-n (Li et al., 2016): different n-grams of all texts together, divided by all their n-grams."""
    found = [gram for text in texts for gram in grams(text, n)]
    return len(set(found)) / len(found) if found else 1.0


def loops(text: Text) -> bool:
    """Whether it ends in four repeats or more of one block, over 32 tokens or more."""
    for period in range(1, len(text) // REPEATS + 1):
        length = max(REPEATS * period, SHORTEST_LOOP)
        tail = text[-length:]
        if len(tail) == length and tail[period:] == tail[:-period]:
            return True
    return False


def premature(text: Text, end: int) -> bool:
    return end in text[:MIN_LENGTH]


def describe(texts: Sequence[Text], end: int) -> dict[str, float]:
    """All of the above: means over the texts, distinct-n over all together."""
    count = len(texts)
    return {
        "rep_2": sum(repeated(text, 2) for text in texts) / count,
        "rep_4": sum(repeated(text, 4) for text in texts) / count,
        "distinct_1": distinct(texts, 1),
        "distinct_2": distinct(texts, 2),
        "loops": sum(loops(text) for text in texts) / count,
        "premature": sum(premature(text, end) for text in texts) / count,
    }


def load(counts: Sequence[Sequence[int]]) -> dict[str, object]:
    """Expert load from the assignments of each layer's experts `[L][E]`.

    A share is an expert's part of its layer's assignments, divided by the even part. CV is the standard deviation of
    a layer's shares, a mean over layers; dead is an expert that gets less than a tenth of its even part.
    """
    shares = [[count * len(layer) / sum(layer) for count in layer] for layer in counts]
    spread = [(sum((share - 1) ** 2 for share in layer) / (len(layer) - 1)) ** 0.5 for layer in shares]
    flat = [share for layer in shares for share in layer]
    return {
        "cv": sum(spread) / len(spread),
        "dead": sum(share < 0.1 for share in flat),
        "most": max(flat),
        "shares": [round(share, 4) for share in flat],
    }
