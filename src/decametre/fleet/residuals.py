"""Consistency residuals of many products: what is usual in each band, and who is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from decametre.fleet.records import CompletedProduct

OUTLIER_DEVIATIONS = 5
"""Median absolute deviations above the median from which on a product is an outlier."""

MIN_DEVIATION = 0.01
"""Of the median; a smaller median absolute deviation counts as this, lest equals differ."""

MIN_PRODUCTS = 8
"""Products that it takes to say what is usual."""

RULE = (
    f"An outlier has a residual more than {OUTLIER_DEVIATIONS} median absolute deviations (at "
    f"least {100 * MIN_DEVIATION:g} % of the median each) above the median of its band over all "
    f"products, {MIN_PRODUCTS} or more."
)


@dataclass(frozen=True)
class BandResiduals:
    """Of all products, in DN (RMSE).

    Attributes:
        band: Its name.
        products: How many have it.
        percentiles: The 5th, 25th, 50th, 75th and 95th.
        largest: The largest.
        limit: Beyond it is an outlier; None with too few products.
    """

    band: str
    products: int
    percentiles: tuple[float, float, float, float, float]
    largest: float
    limit: float | None

    @property
    def median(self) -> float:
        """The 50th percentile."""
        return self.percentiles[2]


@dataclass(frozen=True)
class Outlier:
    """A product whose residual is unusual.

    Attributes:
        done: The product.
        bands: The bands in which it is, worst first.
        excess: In the worst, its residual over the limit.
    """

    product: CompletedProduct
    bands: tuple[str, ...]
    excess: float


def summarise(results: Sequence[CompletedProduct]) -> tuple[list[BandResiduals], list[Outlier]]:
    """What is usual in each band, and the products that are not, worst first."""
    names = list(dict.fromkeys(band for one in results for band in one.residuals))
    bands = []
    excess: dict[int, dict[str, float]] = {}
    for name in names:
        owners = [number for number, one in enumerate(results) if name in one.residuals]
        values = np.array([results[number].residuals[name] for number in owners])
        found = _band(name, values)
        bands.append(found)
        if found.limit is not None:
            for place in np.flatnonzero(values > found.limit):
                times = float(values[place]) / found.limit if found.limit else np.inf
                excess.setdefault(owners[place], {})[name] = times
    outliers = []
    for number, over in excess.items():
        worst = sorted(over, key=lambda name: -over[name])
        outliers.append(Outlier(results[number], tuple(worst), over[worst[0]]))
    return bands, sorted(outliers, key=lambda outlier: (-outlier.excess, outlier.product.name))


def _band(name: str, values: np.ndarray) -> BandResiduals:
    """One band's distribution and limit."""
    low, first, median, third, high = (
        float(value) for value in np.percentile(values, [5, 25, 50, 75, 95])
    )
    limit = None
    if len(values) >= MIN_PRODUCTS:
        deviation = float(np.median(np.abs(values - median)))
        limit = median + OUTLIER_DEVIATIONS * max(deviation, MIN_DEVIATION * median)
    return BandResiduals(
        name, len(values), (low, first, median, third, high), float(values.max()), limit
    )
