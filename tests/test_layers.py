"""Dependencies point downward only, and no two folders import each other."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import decametre

PACKAGE = Path(decametre.__file__).parent

LAYERS = [
    {"errors", "progress", "text", "version"},
    {"allocator", "extras", "files", "options", "yaml_text"},
    {"sentinel2", "device", "model_folder"},
    {"io", "training"},
    {"superres"},
    {"landcover"},
    {"recipes"},
    {"fleet"},
    {"viewer", "xarray"},
    {"api", "bench"},
    {"cli"},
    {"__main__"},
]
"""Parts of the package from the bottom up. A part imports from itself and from layers below."""

FORBIDDEN = {
    "errors": {"torch", "rasterio"},
    "options": {"torch", "rasterio"},
    "version": {"torch", "rasterio"},
    "files": {"torch", "rasterio"},
    "sentinel2": {"torch"},
    "io": {"torch"},
    "viewer": {"torch", "decametre.fleet"},
    "training": {"rasterio", "decametre.sentinel2", "decametre.io"},
    "superres/degradation": {"rasterio"},
    "superres/models": {"rasterio"},
}
"""What a module, or the modules of a folder, must not import."""

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def part_of(module: str) -> str:
    """`sentinel2` for `decametre.sentinel2.safe`."""
    return module.split(".")[1]


def imports_of(path: Path) -> set[str]:
    """All modules that a file imports, also inside its functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def folder_of(module: str) -> str | None:
    """The folder in which a module of the package lies; None for what is not one."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    if path.with_suffix(".py").is_file():
        return relative(path.parent)
    return None


def layer_of(part: str) -> int:
    return next(level for level, parts in enumerate(LAYERS) if part in parts)


def test_every_part_has_a_layer():
    parts = {relative(path).split("/")[0].removesuffix(".py") for path in MODULES}
    assert parts == set().union(*LAYERS)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_point_downward(path):
    part = relative(path).split("/")[0].removesuffix(".py")
    for name in imports_of(path):
        if name.startswith("decametre.") and part_of(name) in set().union(*LAYERS) - {part}:
            assert layer_of(part_of(name)) < layer_of(part), f"{path} imports {name}"


@pytest.mark.parametrize("place", FORBIDDEN)
def test_some_folders_do_without_some_libraries(place):
    files = [PACKAGE / f"{place}.py"] if (PACKAGE / f"{place}.py").is_file() else []
    files += (PACKAGE / place).rglob("*.py")
    assert files
    for path in files:
        for name in imports_of(path):
            for forbidden in FORBIDDEN[place]:
                assert not f"{name}.".startswith(f"{forbidden}."), f"{path} imports {name}"


def test_folders_do_not_import_each_other():
    arrows: dict[str, set[str]] = {}
    for path in MODULES:
        folder = relative(path.parent)
        targets = {folder_of(name) for name in imports_of(path) if name.startswith("decametre.")}
        arrows.setdefault(folder, set()).update(targets - {folder, None, "."})
    assert list(cycles(arrows)) == []


def cycles(arrows: dict[str, set[str]]) -> Iterator[list[str]]:
    """Each cycle of folders, as a list that begins and ends with the same one."""
    done: set[str] = set()

    def walk(folder: str, way: list[str]) -> Iterator[list[str]]:
        if folder in way:
            yield [*way[way.index(folder) :], folder]
        elif folder not in done:
            for target in sorted(arrows.get(folder, ())):
                yield from walk(target, [*way, folder])
            done.add(folder)

    for folder in sorted(arrows):
        yield from walk(folder, [])


def test_cycles_are_seen():
    assert list(cycles({"a": {"b"}, "b": {"c"}, "c": set()})) == []
    assert list(cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}})) == [["b", "c", "b"]]


def test_few_modules_import_dask():
    dask = {"dask", "distributed", "dask_jobqueue"}
    found = [p for p in MODULES if dask & {name.split(".")[0] for name in imports_of(p)}]
    names = ("fleet/engine.py", "fleet/job_pool.py", "fleet/worker_pools.py", "xarray/lazy.py")
    assert found == [PACKAGE / name for name in names]


def test_nothing_imports_benchmarks_or_tests():
    for path in MODULES:
        assert not {"benchmarks", "tests"} & {name.split(".")[0] for name in imports_of(path)}


def test_bands_and_grids_import_without_torch_and_gdal():
    code = (
        "import sys\n"
        "from decametre.sentinel2 import bands, grid, radiometry\n"
        "assert not {'torch', 'rasterio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
