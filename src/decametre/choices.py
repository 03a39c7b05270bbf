"""What users choose among, and what is taken where they do not choose.

Apart from what it is about, for the command line tells it without importing torch.
"""

from __future__ import annotations

from typing import Literal

KERNELS = ("dsen2", "mtf")
"""Degradation kernels, see `decametre.superres.degradation.kernels`."""

PRECISIONS = ("auto", "float32", "bfloat16")
"""Number formats of networks; `auto`: bfloat16 where the device is fast at it."""

ENCODINGS = {"dn": "uint16", "reflectance": "float32"}
"""Encodings of sharpened images, and their data types."""

Norm = Literal["merged", "synchronised", "group", "frozen"]
"""Norms of land-cover networks, see `decametre.training.batch_norm`."""

DEFAULT_TILE = 1380
"""Edge in 10 m pixels of what is computed at once: margins cost 1.2 to 1.4 times its pixels."""

FULL_SIZE = 10980
"""Rows and columns of a Sentinel-2 tile at 10 m, which benchmarks take."""
