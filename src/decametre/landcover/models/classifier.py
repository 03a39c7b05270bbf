"""From the pixels of patches to the probabilities of their classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from decametre.landcover.metrics.scores import Predictions
from decametre.landcover.metrics.thresholds import Thresholds, fixed, from_record
from decametre.landcover.models.card import LandCoverCard
from decametre.landcover.patches.images import Dn, Images, Offset, read_images
from decametre.landcover.patches.store import PatchStore
from decametre.superres.sharpening.pipeline import read_ahead

AT_ONCE = 64
"""Patches of one forward pass. The last digits of a probability depend on it."""

READ_AHEAD = 2
"""Batches that are read but not yet classified."""


def reflectance(dn: Tensor, offset: Tensor) -> Tensor:
    """What a land-cover network sees, in training as ever after.

    A pixel without data shows the mean of what the band has in its patch: zeros would be edges of
    the darkest ground. A band without any data is 0.

    Args:
        dn: (patches, bands, rows, columns), as floating-point numbers; 0 is nodata.
        offset: DN to add, (patches, bands).
    """
    measured = dn > 0
    number = measured.sum((2, 3))
    # DN are whole numbers, so the sum is exact: the same in any company, on any device.
    mean = (dn.sum((2, 3), dtype=torch.float64) / number.clamp(min=1)).to(dn.dtype)
    gap = torch.where(number > 0, mean, -offset)
    return (torch.where(measured, dn, gap[:, :, None, None]) + offset[:, :, None, None]) / 10000


@torch.inference_mode()
def probabilities(network: nn.Module, dn: Dn, offset: Offset, device: torch.device) -> np.ndarray:
    """Classify the patches of a batch, in float32 whatever the training's precision.

    Args:
        network: In evaluation mode, on the device.
        dn: See `Dn`.
        offset: See `Offset`.
        device: Where the network is.

    Returns:
        float32, (patches, classes).
    """
    dtype = next(network.parameters()).dtype
    images = {
        gsd: reflectance(
            torch.from_numpy(image).to(device).to(dtype),
            torch.from_numpy(offset[gsd]).to(device, dtype),
        )
        for gsd, image in dn.items()
    }
    found: np.ndarray = network(images).sigmoid().float().cpu().numpy()
    return found


def thresholds_of(card: LandCoverCard) -> Thresholds:
    """From which probability on a model's classes are there: by its card, or from 0.5 on.

    Raises:
        ModelError: What the card says of it makes no sense.
    """
    if not card.thresholds:
        return fixed(len(card.classes))
    return from_record(card.thresholds, card.classes, f"model {card.name}")


def shard_for_rank(places: np.ndarray, rank: int, size: int) -> np.ndarray:
    """A rank's share of some patches.

    Whole batches are dealt: a patch stands in the same company, and gets the same bits, however
    many ranks there are.
    """
    batches = [places[at : at + AT_ONCE] for at in range(0, len(places), AT_ONCE)]
    return np.concatenate([places[:0], *batches[rank::size]])


def predicted(
    network: nn.Module,
    store: PatchStore,
    places: np.ndarray,
    images: Sequence[Images],
    device: torch.device,
    done: Callable[[int], None] = lambda count: None,
) -> Predictions:
    """Probabilities of the classes of stored patches, beside the truth.

    Args:
        network: In evaluation mode, on the device.
        store: The patches.
        places: Of those to classify; there may be none.
        images: What the network sees.
        device: Where the network is.
        done: Called with the number of patches classified so far.
    """

    def batches() -> Iterator[tuple[Dn, Offset]]:
        for begin in range(0, len(places), AT_ONCE):
            yield read_images(store, places[begin : begin + AT_ONCE], images)

    scores = np.empty((len(places), len(store.class_names)), np.float32)
    at = 0
    for dn, offset in read_ahead(batches, READ_AHEAD):
        found = probabilities(network, dn, offset, device)
        scores[at : at + len(found)] = found
        at += len(found)
        done(at)
    return Predictions(places.astype(np.int64), scores, store.labels[places])
