"""The land-cover network: a backbone of timm on bands resampled to 10 m."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from decametre.errors import ModelError
from decametre.options import Norm, Resampling
from decametre.sentinel2.bands import BAND_NAMES, FINEST_GSD
from decametre.training.batch_norm import replace_norms

RESERVED_ARGUMENTS = ("checkpoint_path", "cache_dir", "pretrained", "in_chans", "num_classes")
"""Arguments of `timm.create_model` that would read files, download, or contradict the network's."""


def check_backbone(backbone: str, config: Mapping[str, Any]) -> None:
    """Check that a backbone is built from its name alone: nothing is downloaded, no file is read.

    Raises:
        ModelError: It names a place, or an argument does.
    """
    # timm reads `hf-hub:NAME` and `local-dir:PATH`, which may even hold pickles.
    if not re.fullmatch(r"\w[\w.]*", backbone):
        raise ModelError(f"backbone '{backbone}' is not the name of a network of timm")
    for key in config:
        if key.startswith(RESERVED_ARGUMENTS):
            raise ModelError(f"backbone '{backbone}': argument {key} must not be set; remove it")


class LandCoverNetwork(nn.Module):
    """Compute a logit per class from bands on their native grids.

    Args:
        backbone: Name of a network in timm.
        bands_in: Band names for each GSD in metres, in the order of the images' channels. Bands
            coarser than 10 m are up-sampled.
        classes: Number of classes.
        config: Arguments of `timm.create_model`.
        norm: See `with_norm`.
        resampling: How bands coarser than 10 m are up-sampled: `bilinear` or `nearest`.
        temperature: Logits are divided by it, see `metrics.calibration`.

    Attributes:
        features: Number of features per patch, the input of the last layer, to which dropout
            applies.
        mean: Mean reflectance that is subtracted, (bands,).
        deviation: Standard deviation of reflectance that is divided by, (bands,).

    Raises:
        ModelError: timm has no such backbone, or cannot build it with these arguments.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        backbone: str,
        bands_in: Mapping[int, Sequence[str]],
        classes: int,
        config: Mapping[str, Any] | None = None,
        norm: Norm = "merged",
        resampling: Resampling = "bilinear",
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        from timm import create_model  # imports torchvision, which takes seconds

        self.resampling, self.temperature = resampling, temperature
        self.bands_in = {gsd: tuple(names) for gsd, names in bands_in.items()}
        given = [name for names in self.bands_in.values() for name in names]
        # Channels are ordered by wavelength, across grids.
        self.order = sorted(range(len(given)), key=lambda at: BAND_NAMES.index(given[at]))
        check_backbone(backbone, config or {})
        try:
            body = create_model(
                backbone, pretrained=False, in_chans=len(given), num_classes=0, **(config or {})
            )
        except Exception as error:  # timm raises many types
            raise ModelError(
                f"timm cannot build backbone '{backbone}' with {dict(config or {})} ({error}); "
                "`python -c 'import timm; print(timm.list_models())'` lists its names"
            ) from error
        self.body = replace_norms(body, norm)
        self.features = int(getattr(body, "head_hidden_size", None) or body.num_features)
        self.head = nn.Linear(self.features, classes)
        self.register_buffer("mean", torch.zeros(len(given)))
        self.register_buffer("deviation", torch.ones(len(given)))

    def forward(self, images: Mapping[int, Tensor], kept: Tensor | None = None) -> Tensor:
        """Logits, (patches, classes).

        Args:
            images: Reflectance, (patches, bands, rows, columns) for each GSD.
            kept: (patches, features): factors of the features, 0 where dropout removes one. They
                are drawn by the caller, since they must not depend on the composition of a batch.
        """
        edge = max(image.shape[-1] * gsd for gsd, image in images.items()) // FINEST_GSD
        fine = [
            image if image.shape[-1] == edge else self._fine(image, edge)
            for image in (images[gsd] for gsd in self.bands_in)
        ]
        x = torch.cat(fine, dim=1)[:, self.order]
        x = (x - self.mean[:, None, None]) / self.deviation[:, None, None]
        features = self.body(x.contiguous(memory_format=torch.channels_last))
        return self.head(features if kept is None else features * kept) / self.temperature

    def _fine(self, image: Tensor, edge: int) -> Tensor:
        if self.resampling == "nearest":
            return F.interpolate(image, size=(edge, edge), mode="nearest")
        return F.interpolate(image, size=(edge, edge), mode="bilinear", align_corners=False)
