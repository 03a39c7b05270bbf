"""Scores at degraded scale (Wald's protocol), against bicubic interpolation of the same input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decametre.bands import FINEST_GSD
from decametre.models.bicubic import bicubic
from decametre.wald import DegradedScene, Pair


@dataclass(frozen=True)
class SceneScore:
    """The error on one scene.

    Attributes:
        scene: Its name.
        pixels: Number of scored pixels, over all bands.
        rmse: Root mean square error of the network for each band, in DN of 10000 a reflectance
            of 1; NaN for a band without a scored pixel.
        rmse_bicubic: The same for bicubic interpolation.
    """

    scene: str
    pixels: int
    rmse: tuple[float, ...]
    rmse_bicubic: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Mean RMSE over bands, divided by that of bicubic."""
        return sum(self.rmse) / sum(self.rmse_bicubic)


@torch.inference_mode()
def predict(network: nn.Module, inputs: Mapping[int, Tensor], margin: int) -> Tensor:
    """Run a network on a whole image whose edge pixels repeat outward by the margin.

    Args:
        network: The network.
        inputs: For each GSD, (batch, bands, rows, columns).
        margin: In pixels of the coarsest grid.
    """
    coarsest = max(inputs)
    padded = {
        gsd: F.pad(image, [margin * coarsest // gsd] * 4, mode="replicate")
        for gsd, image in inputs.items()
    }
    edge = margin * coarsest // FINEST_GSD
    return network(padded)[..., edge:-edge, edge:-edge].float()


def score(network: nn.Module, margin: int, scenes: Sequence[DegradedScene]) -> list[SceneScore]:
    """RMSE of a network and of bicubic interpolation on each scene that has scorable pixels."""
    scores = []
    for scene in scenes:
        pair = scene.whole()
        if not pair.mask.any():
            continue
        baseline = bicubic(pair.inputs[max(pair.inputs)], scene.scale)
        scores.append(
            SceneScore(
                scene.name,
                int(pair.mask.sum()),
                rmse(predict(network, pair.inputs, margin), pair),
                rmse(baseline, pair),
            )
        )
    return scores


def rmse(image: Tensor, pair: Pair) -> tuple[float, ...]:
    """Root mean square error for each band over the pair's mask, in DN."""
    squares = ((image - pair.target) * 1e4).double().square() * pair.mask
    totals = squares.sum(dim=(0, 2, 3)) / pair.mask.sum(dim=(0, 2, 3))
    return tuple(totals.sqrt().tolist())


def mean_ratio(scores: Sequence[SceneScore]) -> float:
    """RMSE averaged over bands and scenes, divided by that of bicubic: the published form."""
    network = sum(value for s in scores for value in s.rmse)
    baseline = sum(value for s in scores for value in s.rmse_bicubic)
    return network / baseline
