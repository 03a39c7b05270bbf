"""Everything but fleets imports on systems without POSIX-only modules and functions."""

import subprocess
import sys
from pathlib import Path

import decametre

PACKAGE = Path(decametre.__file__).parent

CODE = """
import errno, importlib, os, signal, sys, types
# Packages of others choose by `sys.platform` when they are imported.
import click, h5py, lmdb, matplotlib.pyplot, numpy, pandas, pyarrow, pydantic, rasterio
import rich.logging, safetensors.torch, scipy.ndimage, scipy.optimize, tensorboard, timm, torch
import torchmetrics
import geopandas, jsonschema, psutil, pystac, requests, yaml, http.server, multiprocessing, asyncio
import torch.utils.tensorboard, torch.utils.flop_counter, torch.nn.parallel, torch.distributed
import torchmetrics.functional.image, matplotlib.figure, rasterio.vrt, rasterio.shutil, subprocess
import tempfile, uuid, getpass, urllib.request, socketserver, webbrowser, zipfile, platform, ctypes

POSIX = "fcntl grp posix pty pwd resource syslog termios tty".split()
for name in POSIX:
    sys.modules[name] = None  # importing it is an ImportError
sys.modules["msvcrt"] = types.ModuleType("msvcrt")
sys.platform = "win32"
for owner, names in (
    (os, "fork getuid geteuid getloadavg killpg sched_getaffinity setsid statvfs sysconf"),
    (signal, "SIGHUP SIGKILL SIGUSR1 SIGUSR2 SIGALRM"),
    (errno, "EDQUOT"),
):
    for name in names.split():
        if hasattr(owner, name):
            delattr(owner, name)

for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def names_of_modules() -> list[str]:
    paths = sorted(PACKAGE.rglob("*.py"))
    parts = [path.relative_to(PACKAGE.parent).with_suffix("").parts for path in paths]
    names = [".".join(each).removesuffix(".__init__") for each in parts]
    fleet = ("decametre.fleet", "decametre.cli.fleet", "decametre.api.fleet")
    return [name for name in names if not name.startswith((*fleet, "decametre.__main__"))]


def test_everything_but_fleets_imports_without_posix():
    names = names_of_modules()
    assert "decametre.superres.sharpening.sharpening_job" in names
    assert "decametre.cli.main" in names
    done = subprocess.run(
        [sys.executable, "-c", CODE, *names], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_posix_only_module_would_be_seen(tmp_path):
    (tmp_path / "odd.py").write_text("import fcntl\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{CODE}"
    done = subprocess.run(
        [sys.executable, "-c", code, "odd"], capture_output=True, text=True, check=False
    )
    assert "fcntl" in done.stderr
