"""Every Sentinel-2 band at ten metres, and what grows there.

import decametre

product = decametre.open("S2B_MSIL2A_....SAFE.zip")
result = decametre.sharpen(product, "sharp.tif")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from decametre.version import __version__

if TYPE_CHECKING:
    from decametre.api import evaluate as evaluate
    from decametre.api import open as open
    from decametre.api import sharpen as sharpen


__all__ = ["__version__", "evaluate", "open", "sharpen"]


def __getattr__(name: str) -> Any:
    # torch and GDAL take seconds to import, which `decametre --version` should not need.
    if name in ("evaluate", "open", "sharpen"):
        from decametre import api

        return getattr(api, name)
    raise AttributeError(f"module 'decametre' has no attribute '{name}'")
