"""Nothing is pickled or unpickled: the ways in are looked for in the code, and shut in every process of ours."""

import ast
import io
import os
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch._export.serde.schema import SCHEMA_VERSION
from torch._export.serde.serialize import serialize

from tests.conftest import ROOT
from tests.faults.hostile import Canary

MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "skops", "yaml"}
# By the whole name, however it was imported.
NAMES = {
    *("torch.load", "torch.save", "torch.jit.load", "torch.jit.save", "torch.export.load", "torch.export.save"),
    *("torch.serialization", "torch.package", "numpy.load", "numpy.save", "pandas.read_pickle"),
    *("os.system", "os.popen"),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "pyarrow.deserialize", "pyarrow.PyExtensionType"),
    *("eval", "exec", "compile", "__import__"),
}
# Of whatever object.
METHODS = {"read_pickle", "to_pickle", "load_model", "load_pyfunc", "unsafe_load", "full_load"}
KEYWORDS = {"pickle_module": None, "allow_pickle": True, "weights_only": False, "shell": True, "typ": "unsafe"}


def ways_in(code: str) -> list[str]:
    """Each use of a name, module or argument that could run what a file holds."""
    tree = ast.parse(code)
    known: dict[str, str] = {}  # name in the code -> whole name
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {each.asname: each.name for each in node.names if each.asname}
        elif isinstance(node, ast.ImportFrom):
            known |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}

    def whole(node: ast.AST) -> str:
        if isinstance(node, ast.Attribute):
            return f"{whole(node.value)}.{node.attr}"
        return known.get(node.id) or node.id if isinstance(node, ast.Name) else ""

    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [each.name for each in node.names if each.name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            found += [str(node.module)] * (str(node.module).partition(".")[0] in MODULES)
            found += [each.name for each in node.names if f"{node.module}.{each.name}" in NAMES]
        elif isinstance(node, ast.Attribute | ast.Name) and whole(node) in NAMES:
            found.append(whole(node))
        elif isinstance(node, ast.Attribute) and node.attr in METHODS:
            found.append(node.attr)
        elif isinstance(node, ast.keyword) and node.arg in KEYWORDS:
            value, bad = getattr(node.value, "value", None), KEYWORDS[node.arg]
            # What is not constant may be anything.
            if bad is None or value == bad or not isinstance(node.value, ast.Constant):
                found.append(node.arg)
    return found


@pytest.mark.parametrize(
    "line",
    [
        *("import pickle", "import cPickle as p", "from dill import loads", "import cloudpickle", "import joblib"),
        *("from joblib import load", "import shelve", "import marshal", "from skops.io import load", "import yaml"),
        *("from yaml import load", "torch.load(p)", "torch.save(x, p)", "import torch as t\nt.load(p)"),
        *("from torch import load", "from torch import save as keep", "torch.jit.load(p)", "torch.export.load(p)"),
        *("from torch import serialization as s\ns.load(p)", "f(p, weights_only=False)", "f(p, weights_only=flag)"),
        *("f(p, pickle_module=x)", "import numpy as np\nnp.load(p)", "f(p, allow_pickle=True)"),
        *("import pandas as pd\npd.read_pickle(p)", "frame.to_pickle(p)", "YAML(typ='unsafe')", "y.unsafe_load(p)"),
        *("eval(text)", "exec(text)", "compile(text, '', 'exec')", "__import__(name)", "os.system(c)", "os.popen(c)"),
        *("subprocess.run(c, shell=True)", "subprocess.run(c, shell=flag)", "subprocess.getoutput(c)"),
        *("mlflow.pyfunc.load_model(uri)", "mlflow.pytorch.load_model(uri)", "from torch import package"),
    ],
)
def test_each_way_in_is_seen(line):
    assert ways_in(line)


@pytest.mark.parametrize(
    "line",
    [
        *("model.eval()", "re.compile(x)", "from safetensors.torch import load as load_tensors\nload_tensors(b)"),
        *("json.load(f)", "model.load(MODELS)", "YAML(typ='safe')", "subprocess.run(c)", "load(MODELS)"),
    ],
)
def test_what_is_harmless_is_not_taken_for_one(line):
    assert ways_in(line) == []


def test_s02_s05_no_code_of_ours_has_a_way_in():
    files = [path for folder in ("stages", "retrace", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 90
    assert {str(path.relative_to(ROOT)): ways_in(path.read_text()) for path in files if ways_in(path.read_text())} == {}


def test_no_file_of_ours_is_a_pickle():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [name for name in listed.split("\0") if name]
    assert not [name for name in names if re.search(r"\.(pkl|pickle|pt|pth|pt2|joblib|npy|npz)$", name)]


# --- the libraries, in a process of ours ----------------------------------------------------------------------------

LOADERS = {
    "evil.pt": "import torch; torch.load('evil.pt', weights_only=False)",
    "evil.pt2": "import torch; torch.export.load('evil.pt2')",
    "evil.model": "import mlflow.pyfunc; mlflow.pyfunc.load_model('evil.model')",
}
OURS = "from retrace.runtime.run import run\ndef main():\n    {}\nrun(main)"
# As an environment that wants the worst would have it.
WILLING = {
    **{"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"},
    "PYTHONPATH": str(ROOT),
}


def write_evil(path: Path, canary: Path) -> None:
    """As torch's file, as a pt2 of the older kind, or as a model of MLflow, by what the name ends with."""
    if path.suffix == ".model":
        path.mkdir()
        (path / "python_model.pkl").write_bytes(pickle.dumps(Canary(canary)))
        flavor = "loader_module: mlflow.pyfunc.model, python_model: python_model.pkl, cloudpickle_version: 3.1.2"
        (path / "MLmodel").write_text(f"flavors: {{python_function: {{{flavor}}}}}\n")
        return
    content = io.BytesIO()
    torch.save(Canary(canary), content)
    if path.suffix == ".pt":
        path.write_bytes(content.getvalue())
        return
    program = serialize(torch.export.export(torch.nn.Linear(1, 1), (torch.zeros(1, 1),)))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", ".".join(map(str, SCHEMA_VERSION)))
        archive.writestr("serialized_exported_program.json", program.exported_program)
        for name in ("state_dict", "constants", "example_inputs"):
            archive.writestr(f"serialized_{name}.pt", content.getvalue())


def test_s01_s03_no_library_unpickles_in_a_process_of_ours(tmp_path, cases):
    canary = tmp_path / "canary"

    def is_there_after(code: str) -> bool:
        canary.unlink(missing_ok=True)
        command = [sys.executable, "-c", code]
        subprocess.run(command, cwd=tmp_path, env={**os.environ, **WILLING}, capture_output=True, check=False)
        return canary.exists()

    for name, loader in [*LOADERS.items()][: cases(1, len(LOADERS))]:
        write_evil(tmp_path / name, canary)
        assert is_there_after(loader), "else this file is not an attack"
        assert not is_there_after(OURS.format(loader)), name
