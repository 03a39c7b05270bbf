"""Running networks on images of any size."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decametre.sentinel2.bands import FINEST_GSD
from decametre.sentinel2.grid import Window
from decametre.sentinel2.tiling import split
from decametre.superres.degradation.kernels import mirrored
from decametre.superres.models.adaptive import adapted_to_image
from decametre.superres.models.bicubic import Bicubic

TILE = 1380
"""Edge in predicted pixels of the tiles in which networks are run; it only affects memory."""


@torch.inference_mode()
def predict(
    network: nn.Module,
    inputs: Mapping[int, Tensor],
    margin: int,
    alignment: int = 1,
    tile: int = TILE,
    measured: Tensor | None = None,
) -> Tensor:
    """Run a network on an image of any size.

    The image is mirrored at its edges, by at least the margin. Tiles start at multiples of
    `alignment`, counted from the image's first pixel, and their size is a multiple of it, so the
    result does not depend on `tile`. A network that adapts to blur adapts to that of the image.

    Args:
        network: The network. Tiles are moved to the device of its weights.
        inputs: For each GSD, (batch, bands, rows, columns) of reflectance.
        margin: Margin of the card, in pixels of the coarsest grid.
        alignment: Alignment of the card, in pixels of the coarsest grid.
        tile: Edge of a tile in predicted pixels.
        measured: (batch, 1, rows, columns) on the coarsest grid, see
            `degraded_scene.DegradedPair`; 1 by default. Mirrored pixels count as not measured.

    Returns:
        (batch, bands of the coarsest GSD, rows, columns) on the finest grid, float32, on the
        inputs' device.
    """
    network = adapted_to_image(network, inputs)
    coarse = inputs[max(inputs)]
    scale = max(inputs) // FINEST_GSD
    batch, bands, rows, cols = coarse.shape
    image = Window(0, 0, cols * scale, rows * scale)
    frame = image.padded(margin * scale).snapped(alignment * scale)
    beyond = (-frame.col, frame.right - image.right, -frame.row, frame.bottom - image.bottom)
    padded = {
        gsd: mirrored(x, [side * FINEST_GSD // gsd for side in beyond]) for gsd, x in inputs.items()
    }
    if measured is None:
        measured = coarse.new_ones((batch, 1, rows, cols))
    measured = F.pad(measured, [side // scale for side in beyond], value=0)
    device = next((weights.device for weights in network.parameters()), coarse.device)
    result = coarse.new_empty((batch, bands, image.height, image.width), dtype=torch.float32)
    for core in split(image, tile, alignment * scale):
        outer = core.padded(margin * scale).snapped(alignment * scale)
        at = outer.relative_to(frame)
        window = {
            gsd: x[..., *at.coarsened(gsd // FINEST_GSD).slices].to(device)
            for gsd, x in padded.items()
        }
        known = measured[..., *at.coarsened(scale).slices].to(device)
        result[..., *core.slices] = network(window, known)[..., *core.relative_to(outer).slices]
    return result


def predict_bicubic(inputs: Mapping[int, Tensor]) -> Tensor:
    """Bicubic interpolation of the coarsest bands, with edges as in `predict`."""
    network = Bicubic({gsd: image.shape[1] for gsd, image in inputs.items()})
    return predict(network, inputs, network.margin)
