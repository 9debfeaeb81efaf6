"""Files made to run code, to lead out of the project, or to be larger than they look: one line, and no canary."""

import base64
import gzip
import hashlib
import io
import json
import os
import pickle
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from packaging.requirements import Requirement
from safetensors.numpy import load, save

import stages.create
import stages.validate
from retrace.runtime import preflight
from retrace.runtime.errors import BAD_DATA, GATE_FAILED, MACHINE_FAULT, UserError
from tests.conftest import PARAMS, ROOT
from tests.faults.hostile import Canary
from tests.project import turn
from tests.state import make_state, write_lock, write_scores

MODEL = Path("models/model.json")
WEIGHTS, REPLICAS = (Path(f"models/{name}.safetensors") for name in ("model", "replicas"))
CODE = "__import__('pathlib').Path('canary').touch()"
TOUCHED = pickle.dumps(Canary(Path("canary")))


def execute(root: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *command], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert not list(root.rglob("canary*")), done.stdout + done.stderr
    return done


def refused(done: "subprocess.CompletedProcess[str]", status: int) -> str:
    """The one line of a process that ended with this status."""
    assert done.returncode == status, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    return line


# --- the model and its data -----------------------------------------------------------------------------------------


def forge(path: Path, content: bytes) -> None:
    """Another file of weights, of which model.json says that it is the one."""
    path.write_bytes(content)
    change(sha256={path.name: hashlib.sha256(content).hexdigest()})


def change(**values) -> None:
    content = json.loads(MODEL.read_text())
    MODEL.write_text(json.dumps({**content, **values, "sha256": {**content["sha256"], **values.get("sha256", {})}}))


def number(**values) -> None:
    preprocessing = json.loads(MODEL.read_text())["preprocessing"]
    preprocessing["numbers"][0] |= values
    change(preprocessing=preprocessing)


def zipped() -> bytes:
    content = io.BytesIO()
    torch.save(Canary(Path("canary")), content)
    return content.getvalue()


PREDICT = ("retrace", "predict", "rows.csv", "out.csv")
# What is made up, and who reads it; the first ones are the sample.
FORGED = [
    (lambda: forge(WEIGHTS, TOUCHED), PREDICT, BAD_DATA),
    (lambda: number(center=CODE), PREDICT, BAD_DATA),
    (lambda: forge(REPLICAS, TOUCHED), ("stages.evaluate",), BAD_DATA),
    (lambda: forge(WEIGHTS, zipped()), ("retrace", "export"), BAD_DATA),
    (lambda: forge(WEIGHTS, b""), PREDICT, BAD_DATA),
    (lambda: MODEL.write_bytes(TOUCHED), PREDICT, BAD_DATA),
    (lambda: MODEL.write_text(f"[{json.dumps(CODE)}]"), PREDICT, BAD_DATA),
    (lambda: number(column={"py/object": "os.system"}), PREDICT, BAD_DATA),
    (lambda: number(part=CODE), PREDICT, BAD_DATA),
    (lambda: number(__class__="os.system"), PREDICT, BAD_DATA),
    (lambda: number(spread=1e999), PREDICT, BAD_DATA),
    (lambda: change(activation=CODE), PREDICT, BAD_DATA),
    (lambda: change(activation="__class__"), PREDICT, BAD_DATA),
    (lambda: change(classes=["a", {"b": CODE}]), PREDICT, BAD_DATA),
    (lambda: change(hidden=[10**12]), PREDICT, BAD_DATA),
    (lambda: change(hidden=CODE), PREDICT, BAD_DATA),
    (lambda: Path("data/test.parquet").write_bytes(TOUCHED), ("stages.evaluate",), BAD_DATA),
    (lambda: Path("data/schema.json").write_bytes(TOUCHED), ("stages.evaluate",), BAD_DATA),
    (lambda: Path("reports/scores.json").write_bytes(TOUCHED), ("retrace", "gate"), GATE_FAILED),
    (lambda: MODEL.write_bytes(TOUCHED), ("stages.record",), BAD_DATA),
    (lambda: Path("models/training.json").write_bytes(TOUCHED), ("stages.record",), BAD_DATA),
    (lambda: Path("reports/scores.json").write_bytes(TOUCHED), ("stages.record",), BAD_DATA),
    (lambda: Path("reports/data.json").write_bytes(TOUCHED), ("stages.record",), BAD_DATA),
    (lambda: Path("reports/predictions.parquet").write_bytes(TOUCHED), ("stages.record",), BAD_DATA),
    (lambda: Path("data/train.parquet").write_bytes(TOUCHED), ("stages.record",), BAD_DATA),
]


def test_s01_s05_a_forged_file_is_one_line_and_runs_nothing(tmp_path, monkeypatch, cases):
    for index, (forge_it, command, status) in enumerate(FORGED[: cases(2, len(FORGED))]):
        root = tmp_path / str(index)
        make_state(root)
        monkeypatch.chdir(root)
        Path("rows.csv").write_text("x 1,größe\n1,2\n")
        forge(REPLICAS, save({name: tensor[None] for name, tensor in load(WEIGHTS.read_bytes()).items()}))
        forge_it()
        if command == ("stages.record",):
            # A folder from a stranger, of which the lock tells the truth.
            write_lock(root)
        else:
            Path("dvc.lock").unlink()
        line = refused(execute(root, "-m", *command), status)
        assert re.search(r"(models|data|reports)/\w+\.\w+", line), line
        assert not Path("out.csv").exists()


def test_s04_a_model_in_the_store_is_never_loaded(tmp_path, cases):
    campaign(cases)
    make_state(tmp_path)
    assert execute(tmp_path, "-m", "stages.record").returncode == 0
    models = [path.parent for path in (tmp_path / "mlartifacts").rglob("MLmodel")]
    assert len(models) == 1
    (models[0] / "evil.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'canary')!r}).touch()\n")
    (models[0] / "MLmodel").write_text("flavors: {python_function: {loader_module: evil, code: .}}\n")
    write_scores(tmp_path, [True] * 4)  # another state, which is compared with the one before
    assert execute(tmp_path, "-m", "stages.record").returncode == 0
    (tmp_path / "rows.csv").write_text("x 1,größe\n1,2\n")
    assert execute(tmp_path, "-m", *PREDICT).returncode == 0
    code = f"import mlflow.pyfunc; mlflow.pyfunc.load_model({str(models[0])!r})"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False)
    assert (tmp_path / "canary").exists(), "else this model is not an attack"


def campaign(cases) -> None:
    if not cases(0, 1):
        pytest.skip("a case of `make campaigns`")


# --- a table of one's own -------------------------------------------------------------------------------------------


@pytest.fixture
def tables(tmp_path, monkeypatch) -> Path:
    """data/tables of a project that takes its table from there."""
    folder = tmp_path / "data/tables"
    folder.mkdir(parents=True)
    (tmp_path / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(tmp_path)
    turn(tmp_path, {"create.dataset": "table", "create.table.target": "a"})
    return folder


# Runs the stage in no more than so many MiB, and says how many it took.
MEASURED = """
import atexit, re, resource, runpy, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]) << 20,) * 2)
atexit.register(lambda: print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024))
sys.argv = ["create"]
runpy.run_module("stages.create", run_name="__main__", alter_sys=True)
"""


def create(tables: Path, name: str, limit: int = 4096) -> "tuple[subprocess.CompletedProcess[str], int]":
    turn(tables.parents[1], {"create.table.path": f"data/tables/{name}"})
    done = execute(tables.parents[1], "-c", MEASURED, str(limit))
    return done, int(done.stdout.splitlines()[-1])


def extension(name: bytes) -> pa.Schema:
    """Of the column b, as the type of an extension that a pickle makes anew."""
    marks = {b"ARROW:extension:name": name, b"ARROW:extension:metadata": TOUCHED}
    return pa.schema([pa.field("a", pa.string()), pa.field("b", pa.int64(), metadata=marks)])


PLAIN = pa.schema([("a", pa.string()), ("b", pa.int64())])
ROWS = {"a": ["x", "y"] * 30, "b": [index * 7 % 13 for index in range(60)]}


def test_pickles_in_the_metadata_of_a_table_stay_bytes(tables, cases):
    schemas = {
        "extension": extension(b"arrow.py_extension_type"),
        "period": extension(b"pandas.period"),
        "pandas": PLAIN.with_metadata({b"pandas": TOUCHED}),
    }
    for name, schema in [*schemas.items()][: cases(1, len(schemas))]:
        pq.write_table(pa.table(ROWS, schema=schema), tables / f"{name}.parquet")
        content = (tables / f"{name}.parquet").read_bytes()
        # As it is, or in the base64 of the schema, wherever it begins there.
        assert (
            any(base64.b64encode(bytes(start) + TOUCHED)[4:-4] in content for start in range(3)) or TOUCHED in content
        )
        done, _ = create(tables, f"{name}.parquet")
        assert done.returncode in (0, BAD_DATA), done.stderr
        assert "Traceback" not in done.stderr


def test_s21_a_header_of_a_million_columns_is_one_line(tables):
    (tables / "wide.csv").write_bytes(b",".join(b"c%d" % index for index in range(10**6)) + b"\n")
    done, peak = create(tables, "wide.csv")
    assert "data/tables/wide.csv" in refused(done, BAD_DATA)
    assert peak < 400


def test_s21_a_group_of_rows_that_does_not_fit_is_one_line(tables):
    rows = pa.array(np.zeros(67_000_000, dtype=np.int64))
    pq.write_table(
        pa.table({"a": rows, "b": rows}), tables / "rows.parquet", row_group_size=len(rows), compression="zstd"
    )
    assert (tables / "rows.parquet").stat().st_size < 10**6
    # What its libraries may take, and less than the rows would.
    libraries = (preflight.LIBRARIES + preflight.PER_CORE * (os.cpu_count() or 1)) >> 20
    done, peak = create(tables, "rows.parquet", libraries + 50)
    assert "a row group of 67,000,000 rows takes at least 1,023 MiB" in refused(done, MACHINE_FAULT)
    assert peak < 400


def test_s21_a_line_without_end_is_one_line(tables, cases):
    campaign(cases)
    with gzip.open(tables / "line.csv.gz", "wb", 1) as file:
        file.write(b"a,b\n")
        for _ in range(1000):
            file.write(b"x" * 10**6)
    done, peak = create(tables, "line.csv.gz")
    assert "data/tables/line.csv.gz cannot be read" in refused(done, BAD_DATA)
    assert peak < 500


def test_s21_a_footer_of_too_many_columns_is_one_line(tables, cases):
    campaign(cases)
    names = pa.schema([(f"c{index}", pa.int8()) for index in range(300_000)])
    with pq.ParquetWriter(tables / "wide.parquet", names, store_schema=False):
        pass
    done, peak = create(tables, "wide.parquet")
    assert "its footer is larger than that of a table with 10,000 columns" in refused(done, BAD_DATA)
    assert peak < 400


def test_s21_what_unpacks_to_a_thousand_times_its_size_goes_through_in_blocks(tables, cases):
    campaign(cases)
    peaks = []
    for blocks in (40, 160):
        with gzip.open(tables / "many.csv.gz", "wb", 9) as file:
            file.write(b"a,b,c\n")
            for _ in range(blocks):
                file.write(b"x,1,2\ny,2,3\nx,2,1\ny,1,3\n" * 100_000)
        assert (tables / "many.csv.gz").stat().st_size * 300 < blocks * 2_400_000
        done, peak = create(tables, "many.csv.gz")
        assert done.returncode == 0, done.stderr
        peaks.append(peak)
    assert peaks[1] < 2 * peaks[0], "of four times the rows"


# --- paths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "../t.csv", "data/tables/../../t.csv", "data/tables/./t.csv", "data/tables//etc/passwd"),
        *("data\\tables\\t.csv", "file:///etc/passwd", "~/t.csv", "data/tables/", "data/tables/a/../../../t.csv"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused_before_anything_runs(tables, path):
    turn(tables.parents[1], {"create.table.path": path})
    with pytest.raises(
        UserError, match=r"^params\.yaml:\d+: create\.table\.path must (be a path|stay) below data/tables"
    ):
        stages.validate.main()


# What looks like a dot, a slash or nothing at all is a letter to a file system.
@pytest.mark.parametrize(
    "name",
    [
        *("\uff0e\uff0e\u2215t.csv", "\u2025\u2044t.csv", "\u202e/t.csv", "t.csv\u200b", "%2e%2e%2ft.csv"),
        "\x1b[2Jt.csv",
    ],
)
def test_letters_that_look_like_a_way_out_are_letters(tables, name):
    (tables.parent / "t.csv").write_text("a,b\n")
    turn(tables.parents[1], {"create.table.path": f"data/tables/{name}"})
    with pytest.raises(UserError, match="not found") as caught:
        stages.create.main()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("what", ["file", "folder", "part"])
def test_a_link_out_of_the_folder_is_refused_wherever_it_stands(tables, what):
    outside = tables.parents[1] / "outside"
    outside.mkdir()
    pq.write_table(pa.table(ROWS), outside / "t.parquet")
    link, target = {
        "file": (tables / "t.parquet", outside / "t.parquet"),
        "folder": (tables / "t", outside),
        "part": (tables / "t/0.parquet", outside / "t.parquet"),
    }[what]
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(target)
    turn(tables.parents[1], {"create.table.path": f"data/tables/{'t.parquet' if what == 'file' else 't'}"})
    with pytest.raises(UserError, match="leads out of data/tables") as caught:
        stages.create.main()
    assert caught.value.status == BAD_DATA


@pytest.mark.parametrize("name", ["../x", "a/b", "/tmp/x", "..", "a\\b", "", "a\nb", "${HOME}", "x\u2215y"])
def test_the_name_of_an_experiment_is_no_path(tables, name):
    turn(tables.parents[1], {"record.experiment": name})
    with pytest.raises(UserError, match=r"record\.experiment must be letters, digits, spaces and _\.-"):
        stages.validate.main()


def test_s13_an_artifact_does_not_leave_the_store(tmp_path):
    """MLflow's own refusal, on which a store that others write into relies."""
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/store.db")
    run = client.create_run(client.create_experiment("any", (tmp_path / "store" / "artifacts").as_uri()))
    for path in ("../../evil.txt", "/evil.txt", "a/../../../evil.txt"):
        with pytest.raises(MlflowException):
            client.log_text(run.info.run_id, "evil", path)
    assert not list(tmp_path.rglob("evil.txt"))


def test_s22_what_is_locked_is_above_the_floors():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    wanted = [Requirement(text) for text in project["dependencies"]]
    assert [str(each) for each in wanted if not each.specifier.contains(locked[each.name.replace(".", "-")])] == []
    assert {"torch>=2.10", "mlflow<3.18,>=3.16.1"} < set(map(str, wanted))
