"""Distribute the patches of many products over workers.

A worker with few patches waits for the others, so all shares should be of one size. A product
should also stay with one worker, which then decodes it once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from decametre.errors import PatchError


@dataclass(frozen=True, order=True)
class Piece:
    """Consecutive patches of a product.

    Attributes:
        product: The product.
        start: Index of the first patch.
        stop: Index after the last patch.
    """

    product: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __str__(self) -> str:
        return f"{self.product} [{self.start}:{self.stop}]"


@dataclass(frozen=True)
class Distribution:
    """The share of each worker.

    Attributes:
        method: Name of the method, see `METHODS`.
        shares: Pieces of each worker; may be empty.
    """

    method: str
    shares: tuple[tuple[Piece, ...], ...]

    @property
    def counts(self) -> list[int]:
        """Number of patches of each worker."""
        return [sum(map(len, share)) for share in self.shares]

    @property
    def imbalance(self) -> float:
        """Largest share divided by the mean: 1 is perfect; with 1.1 all wait a tenth longer."""
        return max(self.counts) * len(self.shares) / sum(self.counts)


def back_and_forth(pieces: Sequence[Piece], workers: int) -> list[list[Piece]]:
    """Algorithm 1 of Sedona et al. 2019: largest piece first, one to each worker in turn.

    The printed algorithm lacks symbols; this follows its description, by which the order of the
    workers is reversed in every second round.
    """
    shares: list[list[Piece]] = [[] for _ in range(workers)]
    for turn, piece in enumerate(_largest_first(pieces)):
        lap, position = divmod(turn, workers)
        shares[workers - 1 - position if lap % 2 else position].append(piece)
    return shares


def longest_first(pieces: Sequence[Piece], workers: int) -> list[list[Piece]]:
    """Longest processing time first: each piece goes to the worker with the smallest share.

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
    """Cut the sequence of all patches into equal parts, across products (McNaughton 1959).

    Shares differ by at most one patch. At most two pieces of a share are parts of a product.
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

COST_OF_CUTTING = 0.05
"""Imbalance that is accepted rather than cut products: two workers decode the rows at a cut, and
open the files of the product twice."""


def distributions(counts: Mapping[str, int], workers: int) -> list[Distribution]:
    """Distribute patches by every method.

    Args:
        counts: Number of patches of each product.
        workers: Number of workers.

    Returns:
        One distribution per method, the best first.

    Raises:
        PatchError: There is no patch, or no worker.
    """
    if workers < 1:
        raise PatchError(f"{workers} workers; give at least 1")
    if not sum(counts.values()):
        raise PatchError("there is no patch to distribute over workers")
    products = [Piece(product, 0, count) for product, count in counts.items() if count]
    found = [
        Distribution(name, tuple(tuple(sorted(share)) for share in method(products, workers)))
        for name, method in METHODS.items()
    ]
    return sorted(
        found,
        key=lambda each: each.imbalance + COST_OF_CUTTING * (each.method == "equal runs"),
    )


def _largest_first(pieces: Sequence[Piece]) -> list[Piece]:
    return sorted(pieces, key=lambda piece: (-len(piece), piece))
