"""`decametre env`: a report to paste into a bug report."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib import metadata
from typing import Any

import click

from decametre.cli.options import json_option
from decametre.version import __version__

PACKAGES = ("click", "numpy", "pystac", "rasterio", "rich", "safetensors", "scipy", "torch")


VARIABLES = (
    *("GDAL_", "CPL_", "PROJ_", "AWS_", "OMP_", "MKL_", "CUDA_", "TORCH_", "SSL_CERT_"),
    *("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
)
"""Environment variables, or their first letters, that can change what decametre does."""


def report() -> dict[str, Any]:
    """Versions, CPU and GPUs, as JSON. Contains no paths, user names or host names."""
    import rasterio  # slow imports, not needed for --help
    import torch

    from decametre.device import bfloat16_flags, choose_precision, precision_name
    from decametre.sentinel2.gdal_settings import IGNORED_VARIABLES

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    with rasterio.Env() as env:
        drivers = env.drivers()
    return {
        "decametre": __version__,
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "cpu_cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "bfloat16_flags": bfloat16_flags(),
        "auto_precision_on_cpu": precision_name(choose_precision("auto", torch.device("cpu"))),
        "gpus": gpus,
        "environment_variables": sorted(name for name in os.environ if name.startswith(VARIABLES)),
        "ignored_environment_variables": list(IGNORED_VARIABLES),
        "gdal": rasterio.__gdal_version__,
        "gdal_drivers": {name: name in drivers for name in ("COG", "JP2OpenJPEG")},
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


@click.command()
@json_option
def env(as_json: bool) -> None:
    """Report versions and devices, for a bug report."""
    values = report()
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    for key, value in values.items():
        text = value
        if isinstance(value, dict):
            text = ", ".join(f"{k} {v}" for k, v in value.items())
        elif isinstance(value, list):
            text = ", ".join(value) or "none"
        click.echo(f"{key:<28} {text}")
