"""Wrong paths are reported before torch, GDAL or pandas is imported, which takes seconds."""

import json
import subprocess
import sys

SCRIPT = """
import json, sys
from decametre.cli.main import cli
from decametre.errors import DecametreError

messages = []
for arguments in json.loads(sys.argv[1]):
    try:
        cli.main(arguments, standalone_mode=False)
    except DecametreError as error:
        messages.append(str(error))
heavy = sorted({"torch", "rasterio", "pandas", "matplotlib"} & sys.modules.keys())
print(json.dumps([messages, heavy]))
"""


def test_wrong_paths_cost_no_import_of_heavy_packages(tmp_path):
    existing = tmp_path / "there.tif"
    store, full = existing.with_suffix(".h5"), tmp_path / "full"
    full.mkdir()
    for path in (existing, store, full / "scores.json"):
        path.touch()
    missing, new = str(tmp_path / "missing.SAFE"), tmp_path / "new"
    cases = [
        (["sharpen", missing, f"{new}.tif"], "no such file or folder"),
        (["sharpen", missing, f"{new}.png"], "ends in .tif"),
        (["sharpen", str(tmp_path), str(existing)], "exists already"),
        (["evaluate", missing], "no such file or folder"),
        (["evaluate", str(tmp_path), "--out", str(full)], "is not empty"),
        (["train", "native_2x", "--train", missing, "--validation", missing], "no such file"),
        (["patches", "extract", missing, f"{new}.h5"], "no such file or folder"),
        (["patches", "extract", str(tmp_path), f"{new}.tif"], "ends in .h5"),
        (["patches", "extract", str(tmp_path), str(store)], "exists already"),
        (["landcover", "evaluate", missing, "--model", str(full)], "no such file"),
        (["landcover", "predict", missing, str(existing), "--model", str(full)], "exists already"),
    ]
    arguments = json.dumps([arguments for arguments, _ in cases])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, arguments], capture_output=True, text=True, check=True
    )
    messages, heavy = json.loads(done.stdout)
    for (arguments, words), message in zip(cases, messages, strict=True):
        assert words in message, arguments
    assert heavy == []
