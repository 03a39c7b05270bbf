"""Who cuts which patches: spreading the patches of many products over workers.

A worker that got few patches would wait for the others, so the shares should be alike. A product
should also stay with one worker, which then decodes it once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from decametre.errors import PatchError


@dataclass(frozen=True, order=True)
class Piece:
    """A run of a product's patches, in reading order.

    Attributes:
        product: Which product.
        start: The first of its patches.
        stop: The one after the last.
    """

    product: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __str__(self) -> str:
        return f"{self.product} [{self.start}:{self.stop}]"


@dataclass(frozen=True)
class Plan:
    """What every worker gets.

    Attributes:
        method: How it was found.
        shares: The pieces of each worker; a worker may have none.
    """

    method: str
    shares: tuple[tuple[Piece, ...], ...]

    @property
    def counts(self) -> list[int]:
        """How many patches each worker has."""
        return [sum(map(len, share)) for share in self.shares]

    @property
    def imbalance(self) -> float:
        """The largest share over the mean: 1 is perfect, 1.1 makes all wait a tenth longer."""
        return max(self.counts) * len(self.shares) / sum(self.counts)


def back_and_forth(pieces: Sequence[Piece], workers: int) -> list[list[Piece]]:
    """Algorithm 1 of Sedona et al. 2019: the largest first, dealt in rounds to and fro.

    The printed algorithm lacks symbols; this follows its description: in every other round the
    order of the workers is reversed.
    """
    shares: list[list[Piece]] = [[] for _ in range(workers)]
    for turn, piece in enumerate(_largest_first(pieces)):
        lap, seat = divmod(turn, workers)
        shares[workers - 1 - seat if lap % 2 else seat].append(piece)
    return shares


def longest_first(pieces: Sequence[Piece], workers: int) -> list[list[Piece]]:
    """Longest processing time first: each piece goes to the worker who has least so far.

    The largest share is at most 4/3 of the best possible one (Graham 1969).
    """
    shares: list[list[Piece]] = [[] for _ in range(workers)]
    sizes = [0] * workers
    for piece in _largest_first(pieces):
        least = sizes.index(min(sizes))
        shares[least].append(piece)
        sizes[least] += len(piece)
    return shares


def equal_runs(pieces: Sequence[Piece], workers: int) -> list[list[Piece]]:
    """All patches in a row, cut into equal runs, whatever products they are of (McNaughton 1959).

    Shares differ by one patch at most; all but two pieces of a share are whole.
    """
    total = sum(map(len, pieces))
    edges = [total * worker // workers for worker in range(workers + 1)]
    shares: list[list[Piece]] = [[] for _ in range(workers)]
    passed = 0
    for piece in sorted(pieces):
        for share, (start, stop) in zip(shares, pairwise(edges), strict=True):
            low = max(start - passed, 0)
            high = min(stop - passed, len(piece))
            if low < high:
                share.append(Piece(piece.product, piece.start + low, piece.start + high))
        passed += len(piece)
    return shares


METHODS: Mapping[str, Callable[[Sequence[Piece], int], list[list[Piece]]]] = {
    "longest first": longest_first,
    "back and forth": back_and_forth,
    "equal runs": equal_runs,
}

CUTTING = 0.05
"""Imbalance that is better borne than removed by cutting products: where a product is cut, the
rows at the cut are decoded by both workers, and its files are opened twice."""


def plans(counts: Mapping[str, int], workers: int) -> list[Plan]:
    """Every plan for so many workers, the best first.

    Args:
        counts: Patches of each product.
        workers: How many there are.

    Raises:
        PatchError: There is no patch, or no worker.
    """
    if workers < 1:
        raise PatchError(f"{workers} workers; at least one must work")
    if not sum(counts.values()):
        raise PatchError("there is no patch to spread over workers")
    whole = [Piece(product, 0, count) for product, count in counts.items() if count]
    found = [
        Plan(name, tuple(tuple(sorted(share)) for share in method(whole, workers)))
        for name, method in METHODS.items()
    ]
    return sorted(
        found, key=lambda plan: plan.imbalance + (CUTTING if plan.method == "equal runs" else 0)
    )


def _largest_first(pieces: Sequence[Piece]) -> list[Piece]:
    return sorted(pieces, key=lambda piece: (-len(piece), piece))
