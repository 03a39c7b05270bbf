"""Dependencies point downward only."""

import ast
from pathlib import Path

import pytest

import decametre

PACKAGE = Path(decametre.__file__).parent

LAYERS = [
    {"bands", "choices", "grid", "tiles", "errors", "radiometry", "version"},
    {"degradation", "back_projection"},
    {"models", "io"},
    {"wald", "stack", "scenes", "sampling", "patches"},
    {"inference", "training", "evaluation"},
    {"fleet"},
    {"bench"},
    {"api", "cli", "__main__"},
]
"""From the bottom up. A module imports from its own layer and from those below."""

FORBIDDEN = {
    "bands": {"torch", "rasterio"},
    "choices": {"torch", "rasterio"},
    "grid": {"torch", "rasterio"},
    "tiles": {"torch", "rasterio"},
    "errors": {"torch", "rasterio"},
    "radiometry": {"torch", "rasterio"},
    "degradation": {"rasterio"},
    "back_projection": {"rasterio"},
    # `degradation` lies below, but brings torch.
    "io": {"torch", "decametre.models", "decametre.degradation", "decametre.back_projection"},
    "models": {"rasterio", "decametre.io"},
}

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def part_of(name: str) -> str:
    """`decametre.io.safe` belongs to `io`."""
    return name.split(".")[1] if "." in name else ""


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            if node.module == "decametre":
                found |= {f"decametre.{alias.name}" for alias in node.names}
    return found


def layer_of(part: str) -> int:
    return next(level for level, parts in enumerate(LAYERS) if part in parts)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downward(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    level = layer_of(part)
    for name in imports_of(path):
        if name.startswith("decametre."):
            other = part_of(name)
            assert layer_of(other) <= level, f"{path} imports {name} from above"
        for forbidden in FORBIDDEN.get(part, ()):
            assert name != forbidden, f"{path} imports {name}"
            assert not name.startswith(f"{forbidden}."), f"{path} imports {name}"


def test_the_engine_alone_knows_dask():
    knows = {"dask", "distributed", "dask_jobqueue"}
    found = [p for p in MODULES if knows & {name.split(".")[0] for name in imports_of(p)}]
    assert found == [PACKAGE / "fleet" / "engine.py"]


def test_every_part_has_a_layer():
    parts = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert parts == set().union(*LAYERS)


def test_the_words_import_without_torch_and_gdal():
    import subprocess
    import sys

    code = (
        "import sys, decametre, decametre.bands, decametre.grid, decametre.radiometry\n"
        "assert not {'torch', 'rasterio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
