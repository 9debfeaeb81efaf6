"""The recorded model in use: loaded by another process in another folder, and served over HTTP."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow.exceptions import MlflowException

from retrace.networks.model import decide
from retrace.networks.model_files import load
from retrace.serving.frame import _text, rows_of
from retrace.tracking.model import CODE as CODE_FILES
from stages import record
from tests.project import free_port
from tests.state import ODD_CLASS, make_state, write_scores
from tests.windows import without_posix

PROBABILITIES = ["probability_plain", f"probability_{ODD_CLASS}"]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project with a recorded champion. MLflow itself loads no model from a path with # or % in it."""
    root = tmp_path_factory.mktemp("serving") / "my project ü"
    make_state(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_EXP_NAME"):
            patch.delenv(name, raising=False)
        # Sure enough for the gate.
        write_scores(root, [True] * 199 + [False])
        record.main()
    return root


@pytest.fixture
def elsewhere(project, tmp_path, monkeypatch) -> dict[str, str]:
    """The environment of a process that knows the store and nothing else of this repository."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_", "PYTHONPATH"))}
    uri = "sqlite:///" + str(project / "mlflow.db").replace("%", "%25")
    monkeypatch.chdir(tmp_path)
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}


def raw_rows(count: int) -> pd.DataFrame:
    random = np.random.default_rng(1)
    return pd.DataFrame({"x 1": random.normal(size=count), "größe": random.normal(size=count)})


def expected(project: Path, rows: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Labels, and probabilities [rows, classes], as `evaluate` finds them."""
    model = load(project / "models")
    probabilities = model.probabilities(rows_of(rows, model.description.features, {}, model.description.preprocessing))
    return [model.description.classes[index] for index in decide(probabilities, 0.5)], probabilities


LOAD = """
import json, sys
import mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model("models:/retrace@champion")
rows = pd.read_json(sys.stdin, orient="split")
shuffled = rows[rows.columns[::-1]].assign(more="text")
answers = [model.predict(table) for table in (rows, shuffled, rows.astype("float32"), rows.iloc[:0])]
try:
    model.predict(rows.assign(größe=float("nan")))
    refused = ""
except Exception as error:
    refused = str(error)
try:
    model.predict(rows[["x 1"]])
    missing = ""
except Exception as error:
    missing = str(error)
signature = model.metadata.signature
inputs, outputs = signature.inputs.input_names(), signature.outputs.input_names()
example = model.input_example
print(json.dumps({
    "answers": [answer.to_dict("list") for answer in answers],
    "refused": refused, "missing": missing, "inputs": inputs, "outputs": outputs,
    "example": example.to_dict("list"), "example_answer": len(model.predict(example)),
    "requirements": open(mlflow.pyfunc.get_model_dependencies("models:/retrace@champion")).read(),
}))
"""


def test_it_loads_elsewhere_and_answers_by_column_name(project, elsewhere):
    rows = raw_rows(50)
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        input=rows.to_json(orient="split", double_precision=15),
        env=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    labels, probabilities = expected(project, rows)
    assert set(labels) == {"plain", ODD_CLASS}
    same, shuffled, single, empty = found["answers"]
    for answer in (same, shuffled):
        assert list(answer) == ["label", *PROBABILITIES]
        assert answer["label"] == labels
        np.testing.assert_allclose([answer[name] for name in PROBABILITIES], probabilities.T, rtol=1e-6)
    np.testing.assert_allclose([single[name] for name in PROBABILITIES], probabilities.T, atol=1e-6)
    assert empty == {"label": [], **{name: [] for name in PROBABILITIES}}
    assert "column 'größe', row 1: None is not a finite number" in found["refused"]
    assert "missing inputs ['größe']" in found["missing"]
    assert (found["inputs"], found["outputs"]) == (["x 1", "größe"], ["label", *PROBABILITIES])
    # Real rows, as the test table has them.
    assert found["example"] == pq.read_table(project / "data/test.parquet", columns=["x 1", "größe"]).to_pydict()
    assert found["example_answer"] == 4
    assert {line.partition("==")[0] for line in found["requirements"].splitlines()} == {
        *("mlflow", "numpy", "pandas", "pyarrow", "safetensors", "torch")
    }
    assert "+" not in found["requirements"]


CODE = """
import sys
import mlflow.pyfunc
mlflow.pyfunc.load_model("models:/retrace@champion").predict
for name, module in sys.modules.items():
    if name.partition(".")[0] == "retrace" and module.__file__:
        print(module.__file__)
"""


def test_it_runs_on_the_code_recorded_with_it_also_where_other_code_lies_about(project, elsewhere):
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=project, env=elsewhere, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    files = done.stdout.splitlines()
    assert len(files) == len(CODE_FILES) - 1  # all but the one that only a prediction needs
    assert all(file.startswith(f"{project}/mlartifacts/retrace/models/") for file in files)


def test_it_is_served_over_http(project, elsewhere):
    port = free_port()
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", "models:/retrace@champion"),
            *("--env-manager", "local", "--port", str(port)),
        ],
        env=elsewhere,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 300
        while True:
            try:
                status, _ = ask(port, "ping")
                break
            except OSError:
                assert server.poll() is None, server.stdout.read()
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.3)
        assert status == 200
        rows = raw_rows(20)
        labels, probabilities = expected(project, rows)
        body = {"dataframe_split": rows[["größe", "x 1"]].to_dict("split", index=False)}
        status, answer = ask(port, "invocations", body)
        assert status == 200, answer
        assert [row["label"] for row in answer["predictions"]] == labels
        found = [[row[name] for name in PROBABILITIES] for row in answer["predictions"]]
        np.testing.assert_allclose(found, probabilities, rtol=1e-6)
        # Whole numbers are numbers, in each format.
        whole = pd.DataFrame({"x 1": [1, 2], "größe": [0, 3]})
        labels, probabilities = expected(project, whole.astype(float))
        for body, kind in (
            ({"dataframe_split": whole.to_dict("split", index=False)}, "application/json"),
            ({"dataframe_records": whole.to_dict("records")}, "application/json"),
            (whole.to_csv(index=False), "text/csv"),
        ):
            status, answer = ask(port, "invocations", body, kind)
            assert status == 200, answer
            assert [row["label"] for row in answer["predictions"]] == labels
            found = [[row[name] for name in PROBABILITIES] for row in answer["predictions"]]
            np.testing.assert_allclose(found, probabilities, rtol=1e-6)
        status, answer = ask(port, "invocations", "x 1,größe\n1,2\n1,big\n", "text/csv")
        assert status == 400
        assert "column 'größe', row 2: 'big' is not a number" in answer["message"]
        status, answer = ask(port, "invocations", {"dataframe_records": [{"x 1": 1.0}]})
        assert status == 400
        assert "missing inputs ['größe']" in answer["message"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.communicate()


ANSWERS = """
import sys
import mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = pd.read_csv(sys.argv[2], float_precision="round_trip")
sys.stdout.write(model.predict(rows).to_csv(index=False))
"""


def test_it_needs_nothing_that_plain_windows_lacks(project, elsewhere, tmp_path):
    """To the last bit, from its folder alone."""
    (made,) = (project / "mlartifacts").rglob("MLmodel")
    raw_rows(50).to_csv("rows.csv", index=False)
    arguments = f"import sys; sys.argv[1:] = [{str(made.parent)!r}, 'rows.csv']\n"
    here = subprocess.run(
        [sys.executable, "-c", arguments + ANSWERS], env=elsewhere, capture_output=True, text=True, check=False
    )
    assert here.returncode == 0, here.stderr
    there = without_posix(arguments + ANSWERS, tmp_path, elsewhere)
    assert there.returncode == 0, there.stderr
    assert there.stdout == here.stdout
    assert here.stdout.count("\n") == 51


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("model.safetensors", lambda content: content[:-1] + b"!", r"is not the file that .* describes \(SHA-256\)"),
        (
            "model.json",
            lambda content: content.replace(b"plain", b"plane"),
            r"is not what this code writes \(SHA-256\)",
        ),
        ("model.json", lambda content: content[:-1], "is not valid JSON"),
        ("model.json", lambda _: None, r"cannot be read \(No such file or directory\)"),
    ],
)
def test_one_that_is_damaged_is_refused_with_what_to_do(project, tmp_path, monkeypatch, name, change, words):
    (made,) = (project / "mlartifacts").rglob("MLmodel")
    folder = Path(shutil.copytree(made.parent, tmp_path / "model"))
    path = folder / "artifacts/model" / name
    content = change(path.read_bytes())
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(MlflowException, match=rf"{name} {words}.*; take the model from its store again$") as caught:
        mlflow.pyfunc.load_model(str(folder))
    assert "\n" not in str(caught.value)


def test_mlflow_predicts_a_file_with_it(project, elsewhere):
    rows = raw_rows(20)
    rows[["größe", "x 1"]].to_csv("rows.csv", index=False)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mlflow", "models", "predict", "--model-uri", "models:/retrace@champion"),
            *("--env-manager", "local", "--input-path", "rows.csv", "--content-type", "csv"),
            *("--output-path", "out.json"),
        ],
        env=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    labels, probabilities = expected(project, rows)
    answer = json.loads(Path("out.json").read_text())["predictions"]
    assert [row["label"] for row in answer] == labels
    np.testing.assert_allclose([[row[name] for name in PROBABILITIES] for row in answer], probabilities, rtol=1e-6)


def ask(port: int, page: str, body: dict | str | None = None, kind: str = "application/json") -> tuple[int, dict]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/{page}",
        data=None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode(),
        headers={"Content-Type": kind},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read().strip() or b"{}")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.parametrize(("value", "answer"), [(b"Rom", "Rom"), (b"\xff", None), (["Rom"], None), ({"a": 1}, None)])
def test_bytes_are_the_text_that_they_are_and_a_list_is_none(value, answer):
    """Old writers of Parquet have texts as bytes; what is no text would be taken for an unknown category."""
    assert _text(value, True) == answer
