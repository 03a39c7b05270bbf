"""Help is printed without importing torch and GDAL, which takes seconds."""

import subprocess
import sys

from decametre.cli.main import VERBS

CODE = """
import sys
from decametre.cli.main import cli

subcommands = [["patches", "extract"], ["patches", "import"], ["landcover", "predict"]]
subcommands += [["fleet", "sharpen"], ["fleet", "plan"], ["bench", "scaling"]]
for words in ([], *([verb] for verb in sys.argv[1:]), *subcommands):
    try:
        cli.main([*words, "--help"], standalone_mode=False)
    except SystemExit as ended:
        assert not ended.code
    assert not {"torch", "rasterio", "h5py", "numpy"} & set(sys.modules), words
"""


def test_no_help_imports_what_takes_long():
    done = subprocess.run(
        [sys.executable, "-c", CODE, *VERBS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: ") == len(VERBS) + 7
