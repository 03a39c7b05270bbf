"""The options of evaluating super-resolution models."""

from __future__ import annotations

from typing import Literal

from decametre.options import Device, Kernel, Models, Options, Overwrite, ReportFolder
from decametre.sentinel2.options import Offset, PartWindow


class EvaluateOptions(Options):
    """How super-resolution models are evaluated."""

    scale: Literal[2, 6] = 2
    """2: the 20 m bands, from 40 to 20 m. 6: the 60 m bands, from 360 to 60 m."""
    protocol: Kernel = "mtf"
    """Kernel that degrades the products. Products are near `mtf`; published figures use `dsen2`."""
    model: Models = ()
    window: PartWindow = None
    offset: Offset = "auto"
    device: Device = "auto"
    full_scale: bool = False
    """Also sharpen the products to 10 m and compute the indices without a reference."""
    out: ReportFolder = None
    overwrite: Overwrite = False
