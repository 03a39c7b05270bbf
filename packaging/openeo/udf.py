"""openEO user-defined function: brings the 20 m bands of a Sentinel-2 cube to 10 m.

Use it with `apply_neighborhood` on a cube of B02, B03, B04, B08, B05, B06, B07, B8A, B11, B12 that
was resampled to 10 m by nearest neighbour. The overlap is the network's margin:

    cube = connection.load_collection("SENTINEL2_L2A", ..., bands=BANDS)
    cube = cube.resample_spatial(resolution=10, method="near")
    cube = cube.apply_neighborhood(
        openeo.UDF.from_file("udf.py"),
        size=[{"dimension": "x", "value": 512, "unit": "px"}, {"dimension": "y", ...}],
        overlap=[{"dimension": "x", "value": 48, "unit": "px"}, {"dimension": "y", ...}],
    )

The back end must have decametre installed, or fetch it by the UDF's declared dependencies:
"""

# /// script
# dependencies = ["decametre"]
# ///

import numpy as np
import torch
import xarray as xr

import decametre

BANDS = ["B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12"]
DN_PER_REFLECTANCE = 10000
CARD, NETWORK = decametre.load_model("native_2x")


def apply_datacube(cube: xr.DataArray, context: dict) -> xr.DataArray:
    """Sharpen every date of a cube with dimensions t (optional), bands, y and x.

    Args:
        cube: DN without offset; `context["offset"]` is added to DN first, in DN.
        context: The arguments of the UDF.
    """
    offset = float(context.get("offset", 0))
    missing = [name for name in BANDS if name not in cube.bands.values]
    if missing:
        raise ValueError(f"the cube has no {', '.join(missing)}; load bands {', '.join(BANDS)}")
    if cube.sizes["y"] % CARD.scale or cube.sizes["x"] % CARD.scale:
        raise ValueError("size and overlap of the neighbourhood must be even numbers of pixels")
    stack = cube.sel(bands=BANDS).transpose(..., "bands", "y", "x")
    dn = stack.values.astype(np.float32).reshape(-1, *stack.shape[-3:])
    sharp = np.stack([sharpened(image, offset) for image in dn]).reshape(stack.shape)
    return stack.copy(data=sharp).transpose(*cube.dims)


def sharpened(dn: np.ndarray, offset: float) -> np.ndarray:
    """One date, (bands, rows, columns); pixels without data remain so."""
    valid = np.isfinite(dn)
    reflectance = torch.from_numpy(np.where(valid, dn + offset, 0)) / DN_PER_REFLECTANCE
    images = {10: reflectance[None, :4], 20: coarse(reflectance[None, 4:])}
    with torch.inference_mode():
        fine = NETWORK(images)[0].numpy() * DN_PER_REFLECTANCE - offset
    return np.where(valid, np.concatenate([dn[:4], fine]), np.nan).astype(np.float32)


def coarse(image: torch.Tensor) -> torch.Tensor:
    """The 20 m bands as measured: the mean of the pixels to which each was repeated."""
    return torch.nn.functional.avg_pool2d(image, CARD.scale)
