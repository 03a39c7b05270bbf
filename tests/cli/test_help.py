"""Help comes at once: without torch, which takes seconds to import."""

import subprocess
import sys

from decametre.cli.main import VERBS

CODE = """
import sys
from decametre.cli.main import cli

for words in ([], *([verb] for verb in sys.argv[1:]), ["patches", "extract"]):
    try:
        cli.main([*words, "--help"], standalone_mode=False)
    except SystemExit as ended:
        assert not ended.code
    assert "torch" not in sys.modules, words
"""


def test_no_help_imports_torch():
    done = subprocess.run(
        [sys.executable, "-c", CODE, *VERBS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: ") == len(VERBS) + 2
