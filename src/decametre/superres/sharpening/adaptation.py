"""Networks that adapt to the blur of a product, adapted before it is sharpened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from decametre.sentinel2.product import Product
from decametre.superres.models.adaptive import AdaptiveTrunk
from decametre.superres.models.registry import Model
from decametre.superres.pixels.scenes import load_scene
from decametre.superres.sharpening.sample_windows import sample_windows

Gains = Mapping[str, Mapping[str, float]]
"""For each model that adapts, by name: the measured gain of each band at its Nyquist frequency."""


def adapt_models(models: Sequence[Model], product: Product) -> tuple[list[Model], Gains]:
    """The models with networks for the blur of a product.

    The blur is measured in a sample of windows of the complete product, whatever part of it is
    sharpened, so that the result for a part equals that part of the complete result.

    Args:
        models: From `registry.models_for`.
        product: The product, with all input bands of the models.

    Returns:
        The models in the same order, of which those that do not adapt are unchanged, and the gains.

    Raises:
        CorruptDataError: A file cannot be decoded.
    """
    adapted, measured = [], {}
    for model in models:
        card, network = model
        if isinstance(network, AdaptiveTrunk):
            windows = sample_windows(product, product.grid.window, card.bands_out[0])
            scenes = [load_scene(product, card.bands, window) for window in windows]
            gains = network.gains_of(scenes)
            network = network.adapted(gains)
            measured[card.name] = dict(zip(card.bands_out, gains.tolist(), strict=True))
        adapted.append(Model(card, network))
    return adapted, measured
