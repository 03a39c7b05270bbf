"""How often the check of the radiometric offset is right, with right and wrong offsets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from decametre.sentinel2.offset_check import Verdict, check_offset
from decametre.sentinel2.opening import open_product

ERRORS = (0.0, 0.1, -0.1)
"""Added to the true offset, in reflectance."""


@dataclass(frozen=True)
class OffsetScore:
    """The verdict on one product with one offset.

    Attributes:
        product: Id of the product.
        error: Error of the offset, in reflectance.
        verdict: What the check found.
        evidence: Why.
    """

    product: str
    error: float
    verdict: Verdict
    evidence: str


def score_offsets(products: Sequence[str]) -> list[OffsetScore]:
    """Check each product with its own offset and with offsets that are 0.1 too high and too low.

    Args:
        products: What `decametre.open` accepts; their metadata must be right.
    """
    scores = []
    for source in products:
        stated = open_product(source).bands["B04"].radiometry.offset_dn
        for error in ERRORS:
            product = open_product(source, stated + round(error * 1e4))
            check = check_offset(product)
            scores.append(OffsetScore(product.id, error, check.verdict, check.evidence))
    return scores


def table(scores: Sequence[OffsetScore]) -> str:
    """The number of products by error and verdict, and what was not recognised, as Markdown."""
    verdicts: tuple[Verdict, ...] = ("agrees", "cannot tell", "contradicts")
    lines = ["| error of the offset | " + " | ".join(verdicts) + " |", "|---|---|---|---|"]
    for error in ERRORS:
        count = Counter(score.verdict for score in scores if score.error == error)
        lines.append(f"| {error:+g} | " + " | ".join(str(count[each]) for each in verdicts) + " |")
    wrong = [s for s in scores if (s.verdict == "contradicts") != (s.error != 0)]
    lines += ["", *(f"{s.product} {s.error:+g}: {s.verdict}: {s.evidence}" for s in wrong)]
    return "\n".join(lines)
