"""No module reads or writes pickles; SECURITY.md names what other packages pickle."""

import ast
from pathlib import Path

import decametre

ROOT = Path(__file__).parents[2]
PACKAGE = Path(decametre.__file__).parent

MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
CALLS = {"read_pickle", "to_pickle", "loads_pickle", "unpickle"}

ALLOWED = {"training/ranks.py": {"all_gather_object", "broadcast_object_list"}}
"""Functions of torch.distributed that pickle, which SECURITY.md names."""


def faults_in(source: str, allowed: frozenset[str] | set[str] = frozenset()) -> list[str]:
    """What in a module would read or write a pickle."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [name for name in names if MODULES & set(name.split("."))]
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        last = name.rpartition(".")[2]
        options = {each.arg: ast.unparse(each.value) for each in node.keywords}
        if (
            last in CALLS
            or (name == "torch.load" and options.get("weights_only") != "True")
            or name == "torch.save"
            or options.get("allow_pickle", "False") != "False"
            or (last.endswith(("_object", "_object_list")) and last not in allowed)
        ):
            found.append(ast.unparse(node))
    return found


def test_no_module_reads_or_writes_pickles():
    faults = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if found := faults_in(path.read_text(), ALLOWED.get(name, set())):
            faults[name] = found
    assert not faults


def test_pickles_would_be_found():
    for line in (
        "import pickle",
        "from joblib import load",
        "import multiprocessing, _pickle",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.save(state, path)",
        "np.load(path, allow_pickle=True)",
        "pd.read_pickle(path)",
        "dist.all_gather_object(a, b)",
    ):
        assert faults_in(line), line
    assert not faults_in("torch.load(path, weights_only=True); np.load(path)")


def test_the_exceptions_are_documented():
    text = (ROOT / "SECURITY.md").read_text()
    assert "torch.distributed" in text
    assert "dask, which pickles" in text
