"""Consistency residuals of many products: their distribution in each band, and outliers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from decametre.fleet.records import CompletedProduct

OUTLIER_DEVIATIONS = 5
"""A product is an outlier above so many median absolute deviations from the median."""

MIN_DEVIATION = 0.01
"""Lowest median absolute deviation, as a share of the median: equal values are no outliers."""

MIN_PRODUCTS = 8
"""Lowest number of products for which outliers are computed."""

RULE = (
    f"An outlier has a residual more than {OUTLIER_DEVIATIONS} median absolute deviations (at "
    f"least {100 * MIN_DEVIATION:g} % of the median each) above the median of its band over all "
    f"products, {MIN_PRODUCTS} or more."
)


@dataclass(frozen=True)
class BandResiduals:
    """Residuals (RMSE in DN) of all products in one band.

    Attributes:
        band: Name of the band.
        products: How many products have the band.
        percentiles: The 5th, 25th, 50th, 75th and 95th.
        largest: The largest residual.
        limit: Products above it are outliers; None if there are too few products.
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
    """A product with an unusually large residual.

    Attributes:
        product: The product.
        bands: The bands in which it is an outlier, worst first.
        excess: Its residual divided by the limit, in the worst band.
    """

    product: CompletedProduct
    bands: tuple[str, ...]
    excess: float


def summarise(results: Sequence[CompletedProduct]) -> tuple[list[BandResiduals], list[Outlier]]:
    """Compute the distribution in each band, and the outliers, worst first."""
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
    """Compute the distribution and the limit of one band."""
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
