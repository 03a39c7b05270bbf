"""Classify patches: from pixels to probabilities of classes."""

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

BATCH = 64
"""Patches per forward pass, on which the last digits of a probability depend."""

READ_AHEAD = 2
"""Batches that are read ahead of classification."""


def reflectance(dn: Tensor, offset: Tensor) -> Tensor:
    """Convert DN to the input of a land-cover network, in training and inference alike.

    A pixel without data gets the mean of its band in the patch, since zeros would look like the
    darkest ground. A band without any data is 0.

    Args:
        dn: (patches, bands, rows, columns), as floating-point numbers; 0 is nodata.
        offset: Radiometric offset in DN, (patches, bands).

    Returns:
        Reflectance, (patches, bands, rows, columns).
    """
    measured = dn > 0
    number = measured.sum((2, 3))
    # Sums of integers are exact: the same in any batch and on any device.
    mean = (dn.sum((2, 3), dtype=torch.float64) / number.clamp(min=1)).to(dn.dtype)
    gap = torch.where(number > 0, mean, -offset)
    return (torch.where(measured, dn, gap[:, :, None, None]) + offset[:, :, None, None]) / 10000


@torch.inference_mode()
def probabilities(network: nn.Module, dn: Dn, offset: Offset, device: torch.device) -> np.ndarray:
    """Classify a batch of patches, always in float32.

    Args:
        network: A network in evaluation mode, on the device.
        dn: See `Dn`.
        offset: See `Offset`.
        device: The device.

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
    """The thresholds in a model's card, or 0.5 for all classes.

    Raises:
        ModelError: The thresholds in the card are invalid.
    """
    if not card.thresholds:
        return fixed(len(card.classes))
    return from_record(card.thresholds, card.classes, f"model {card.name}")


def shard_for_rank(indices: np.ndarray, rank: int, size: int) -> np.ndarray:
    """Select a rank's share of patches.

    Complete batches are assigned to ranks, so that a patch is always classified in the same batch
    and gets the same bits with any number of ranks.
    """
    batches = [indices[at : at + BATCH] for at in range(0, len(indices), BATCH)]
    return np.concatenate([indices[:0], *batches[rank::size]])


def predict_patches(
    network: nn.Module,
    store: PatchStore,
    indices: np.ndarray,
    images: Sequence[Images],
    device: torch.device,
    done: Callable[[int], None] = lambda count: None,
) -> Predictions:
    """Classify stored patches.

    Args:
        network: A network in evaluation mode, on the device.
        store: The patches.
        indices: Indices of the patches to classify; may be empty.
        images: Input images of the network.
        device: The device.
        done: Called with the number of patches classified so far.

    Returns:
        Probabilities and true classes.
    """

    def batches() -> Iterator[tuple[Dn, Offset]]:
        for begin in range(0, len(indices), BATCH):
            yield read_images(store, indices[begin : begin + BATCH], images)

    scores = np.empty((len(indices), len(store.class_names)), np.float32)
    at = 0
    for dn, offset in read_ahead(batches, READ_AHEAD):
        found = probabilities(network, dn, offset, device)
        scores[at : at + len(found)] = found
        at += len(found)
        done(at)
    return Predictions(indices.astype(np.int64), scores, store.labels[indices])
