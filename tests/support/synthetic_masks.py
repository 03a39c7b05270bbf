"""Scene classifications and masks inside synthetic SAFE products."""

import rasterio


def add_mask(safe, name, planes, gsd):
    """Write a raster where a SAFE product has it.

    Args:
        safe: The SAFE folder.
        name: `SCL_20m`, or a name in QI_DATA such as `MSK_CLDPRB_20m`.
        planes: uint8, (planes, rows, columns).
        gsd: Metres.
    """
    (b02,) = sorted(safe.glob("GRANULE/*/IMG_DATA/**/*_B02*.jp2"))[:1]
    granule = safe / b02.relative_to(safe).parts[0] / b02.relative_to(safe).parts[1]
    if name == "SCL_20m":
        path = granule / "IMG_DATA" / "R20m" / "T31TCJ_20230817T104629_SCL_20m.jp2"
    else:
        path = granule / "QI_DATA" / f"{name}.jp2"
    path.parent.mkdir(exist_ok=True)
    with rasterio.open(b02) as band:
        profile = {"crs": band.crs, "transform": band.transform * band.transform.scale(gsd / 10)}
    profile |= {"count": planes.shape[0], "height": planes.shape[1], "width": planes.shape[2]}
    lossless = {"QUALITY": "100", "REVERSIBLE": "YES"}
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", dtype="uint8", **profile, **lossless
    ) as file:
        file.write(planes)
    return path
