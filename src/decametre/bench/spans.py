"""Sets of times: unions and intersections of spans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

Span = tuple[float, float]
"""Begin and end."""


def union(spans: Iterable[Span]) -> list[Span]:
    """The times in at least one of some spans, as spans in order that do not touch."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if end <= begin:
            continue
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def common(first: Iterable[Span], second: Iterable[Span]) -> list[Span]:
    """The times in both of two sets, as spans in order."""
    return list(_common(union(first), union(second)))


def _common(first: Sequence[Span], second: Sequence[Span]) -> Iterator[Span]:
    i = j = 0
    while i < len(first) and j < len(second):
        begin, end = max(first[i][0], second[j][0]), min(first[i][1], second[j][1])
        if begin < end:
            yield begin, end
        if first[i][1] < second[j][1]:
            i += 1
        else:
            j += 1


def length(spans: Iterable[Span]) -> float:
    """How long a set is; what is in several of its spans counts once."""
    return sum(end - begin for begin, end in union(spans))
