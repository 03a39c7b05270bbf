"""Archives in the published layouts, built from the real patches in this folder."""

import shutil
from pathlib import Path

import lmdb
import numpy as np
import rasterio
from safetensors.numpy import save

DATA = Path(__file__).parent / "data"
V1_NAMES = ["S2A_MSIL2A_20170617T113321_4_55", "S2A_MSIL2A_20171221T112501_56_35"]
TILE = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
V2_NAMES = [f"{TILE}_75_43", f"{TILE}_89_18"]

RICO_ORDER = ["B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12", "B01", "B09"]
"""The order in which rico-hdl writes the bands of a patch."""


def pixels(folder):
    """A patch's bands by name, read independently of the code under test."""
    found = {}
    for path in sorted(folder.glob("*.tif")):
        with rasterio.open(path) as dataset:
            found[path.stem[-3:]] = dataset.read(1)
    return found


def folder_of(name):
    return DATA / "v2" / "BigEarthNet-S2" / TILE / name if name in V2_NAMES else DATA / "v1" / name


def many_v1(root, count):
    """An archive of v1 of copies of a real patch under other names."""
    source = DATA / "v1" / V1_NAMES[0]
    names = [f"S2A_MSIL2A_20170617T113321_{number}_7" for number in range(10, 10 + count)]
    for name in names:
        (root / name).mkdir(parents=True)
        for path in source.iterdir():
            shutil.copy(path, root / name / path.name.replace(V1_NAMES[0], name))
    return names


def encoded(path, names=V2_NAMES, order=RICO_ORDER, **changes):
    """What rico-hdl makes of the patches of v2; beside them a Sentinel-1 patch and a map."""
    values = {}
    for name in names:
        bands = {**pixels(folder_of(name)), **changes}
        values[name] = save({band: bands[band] for band in order if bands[band] is not None})
    values["S1A_IW_GRDH_1SDV_20170613T165043_33UUP_75_43"] = save(
        {"VH": np.zeros((120, 120), np.float32), "VV": np.zeros((120, 120), np.float32)}
    )
    values[f"{V2_NAMES[0]}_reference_map"] = save({"Data": np.zeros((120, 120), np.uint16)})
    write_lmdb(path, values)
    return path


def write_lmdb(path, values):
    with lmdb.open(str(path), map_size=1 << 24) as database, database.begin(write=True) as view:
        for name, value in values.items():
            view.put(name.encode(), value)
