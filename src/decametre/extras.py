"""Optional dependencies: which verbs and functions need them, and what to install.

pyproject.toml lists the packages of every extra. Only `check_extra` reports a missing one.
"""

from __future__ import annotations

from importlib.util import find_spec

from decametre.errors import MissingExtraError

MODULES = {
    "train": ("psutil", "tensorboard", "timm"),
    "landcover": ("geopandas", "h5py", "lmdb", "pyarrow", "tensorboard", "timm"),
    "zarr": ("aiohttp", "zarr"),
    "remote": ("adlfs", "aiohttp", "gcsfs", "s3fs", "zarr"),
    "xarray": ("dask", "rioxarray", "xarray"),
    "fleet": (
        *("cryptography", "dask", "dask_jobqueue", "distributed", "h5py", "jinja2"),
        *("pystac_client", "timm"),
    ),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
}
"""Modules that every extra installs."""

REQUIRED_BY = {
    "export": "onnx",
    "export_model": "onnx",
    "train": "train",
    "scaling": "train",
    "balance": "train",
    "landcover": "landcover",
    "patches": "landcover",
    "evaluate_land_cover": "landcover",
    "extract_patches": "landcover",
    "import": "landcover",
    "import_model": "landcover",
    "import_patches": "landcover",
    "label_product": "landcover",
    "merge_patches": "landcover",
    "plan_patches": "landcover",
    "predict_land_cover": "landcover",
    "PatchStore": "landcover",
    "(Zarr products)": "zarr",
    "(Zarr products in object storage)": "remote",
    "xarray": "xarray",
    "fleet": "fleet",
    "fleet_extract": "fleet",
    "fleet_predict": "fleet",
    "fleet_sharpen": "fleet",
}
"""The extra that a verb of the command line or a public Python function needs."""


def check_extra(name: str, user: str = "") -> None:
    """Check that the packages are installed that a verb or a public function needs.

    Args:
        name: A verb such as `fleet`, or a public name such as `fleet_sharpen`. Names that are not
            in `REQUIRED_BY` need no extra.
        user: The command or function in the message; by default the function of that name.

    Raises:
        MissingExtraError: A package is missing; the message has the command that installs it.
    """
    extra = REQUIRED_BY.get(name)
    if extra is None:
        return
    missing = [module for module in MODULES[extra] if not _is_installed(module)]
    if missing:
        raise MissingExtraError(user or f"decametre.{name}", missing, extra)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:
        return False
