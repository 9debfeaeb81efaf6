"""A small state of the pipeline with every oddity that a real one may have, and what a store holds of it."""

import contextlib
import hashlib
import json
import math
import os
import shutil
import sqlite3
import subprocess
import urllib.error
import urllib.request
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML
from safetensors.numpy import save

from retrace.artifacts.result_page import COMMIT_SPOT
from retrace.artifacts.scores import HEADLINES, SCORES, ClassScores, Comparison, Metric, Scores, ShippedTraining
from retrace.preprocessing.description import Number
from retrace.tracking.model import CODE, ENTRY
from tests import warm
from tests.conftest import PARAMS, ROOT, VALUES

EPOCHS, STEPS_PER_EPOCH = 6, 4
# Replica 1 stops after four epochs; replica 2, which ships, has one learning rate that is not a number.
REPLICAS, SHIPPED, STOPPED_AT = 3, 2, 4
TABLES = ("loss", "classes", "calibration", "precision_recall", "replicas", "roc", "slices", "importance")
ODD_CLASS = "a/b<c>|`x`"
# As reports/data.json has them: two of a kind, and one that is long and holds what a tag must not break on.
FOUND = [
    {"kind": "constant", "column": "x 1", "text": "column x 1 is the same in every row", "param": "create.dataset"},
    {"kind": "constant", "column": "größe", "text": "column größe is the same in every row", "param": "create.dataset"},
    {"kind": "identifier", "column": "n\n", "text": "column n\n rises " + "x" * 9000, "param": "create.columns"},
]
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000000200000002080000000057dd52f800000"
    "00e49444154789c633cc1c0c4c0000003fa00cc800a94450000000049454e44ae426082"
)

# What a process would import is there before it forks: a test is of what comes after, and takes a second less for it.
FORKS = """
import os, signal, sys
from stages import record
from retrace.tracking import location, run_parts, sync, store, store_lock
from retrace.tracking.mlflow_internals.loading import load
load(files=True)
from mlflow.tracking import MlflowClient
def child(act):
    if (pid := os.fork()) == 0:
        try:
            act()
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
        sys.stdout.flush()
        os._exit(0)
    return pid
def ended(pid):
    return os.waitpid(pid, 0)[1]
"""


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_json(path: Path, content) -> None:
    path.write_text(json.dumps(content))


def make_state(root: Path, ship: str = "best") -> None:
    """The files of a state, and the dvc.lock that describes them; with ship="mean" all replicas stop together."""
    for folder in ("data", "models", "reports/figures", ".retrace"):
        (root / folder).mkdir(parents=True)
    (root / "params.yaml").write_text(PARAMS)
    classes = [{"name": "plain", "rows": 5}, {"name": ODD_CLASS, "rows": 5}]
    features = [{"name": name, "kind": "numeric"} for name in ("x 1", "größe")]
    target = {"name": "class", "kind": "categorical"}
    schema = {"dataset": "my *table*", "features": features, "target": target, "classes": classes, "density": None}
    schema |= {"carried": [], "own": False, "findings": []}
    write_json(root / "data/schema.json", schema)
    for side, rows in (("train", 6), ("validation", 2), ("test", 4)):
        table = pa.table({"x 1": [0.5 * row for row in range(rows)], "größe": [1.5] * rows, "class": [0] * rows})
        pq.write_table(table, root / f"data/{side}.parquet")
    # One unit: x_1 - größe, scaled.
    layer = {"layers.0.weight": np.float32([[1, -1]]), "layers.0.bias": np.float32([0.25])}
    weights = save(layer)
    (root / "models/model.safetensors").write_bytes(weights)
    digests = {"model.safetensors": hashlib.sha256(weights).hexdigest()}
    numbers = [asdict(Number("x 1", center=0.5, spread=2.0)), asdict(Number("größe", center=1.0, spread=0.5))]
    network = {
        "hidden": [],
        "activation": "relu",
        "embedding_width": 0,
        "preprocessing": {"numbers": numbers, "categories": []},
    }
    names = {"features": ["x 1", "größe"], "kinds": {}, "target": "class", "classes": ["plain", ODD_CLASS]}
    digests["model.json"] = hashlib.sha256(json.dumps({**names, **network}, sort_keys=True).encode()).hexdigest()
    write_json(root / "models/model.json", {**names, **network, "sha256": digests})
    for path in (ENTRY, *CODE):
        (root / path.parent).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, root / path)
    replicas = [{"best_epoch": 5, "best_validation_loss": 0.25, "epochs": EPOCHS}] * REPLICAS
    training = {"device": "cpu", "device_reason": "auto: no CUDA here", "precision": "float32", "shipped": SHIPPED}
    training |= {"steps_per_epoch": STEPS_PER_EPOCH, "replicas": replicas}
    mean = {"best_epoch": 4, "best_validation_loss": 0.125, "epochs": EPOCHS}
    if ship == "mean":
        training |= {"shipped": None, "mean": mean}
    write_json(root / "models/training.json", training)
    lines = ["epoch,replica,train_loss,validation_loss,validation_accuracy,learning_rate,gradient_norm_layer_1"]
    lines[0] += ",validation_loss_of_mean" if ship == "mean" else ""
    for epoch in range(1, EPOCHS + 1):
        for replica in range(REPLICAS):
            if replica == 1 and epoch > STOPPED_AT and ship == "best":
                continue
            rate = "nan" if (replica, epoch) == (SHIPPED, 3) else "0.1"
            lines.append(f"{epoch},{replica},{replica + 1 / epoch},{replica + 2 / epoch},0.5,{rate},{replica / 2}")
            lines[-1] += f",{1 / epoch}" if ship == "mean" else ""
    (root / "reports/history.csv").write_text("\n".join(lines) + "\n")
    steps = {f"replica_{index}": [index + step / 10 for step in range(EPOCHS * STEPS_PER_EPOCH)] for index in range(3)}
    steps["replica_2"][-1] = math.inf
    pq.write_table(pa.table(steps), root / "reports/steps.parquet")
    (root / "reports/confusion_matrix.csv").write_text("actual,plain,odd\nplain,2,0\nodd,1,1\n")
    for name in TABLES:
        (root / f"reports/{name}.csv").write_text("a,b\n1,2\n")
    (root / "reports/classification_report.txt").write_text("plain 0.5\n")
    (root / "reports/data.md").write_text("# The data\n")
    write_json(root / "reports/data.json", {"findings": FOUND})
    (root / "reports/report.html").write_text(f"<p>my *table*</p>{COMMIT_SPOT}<p>größe</p>", "utf-8")
    (root / "reports/figures/confusion_matrix.png").write_bytes(PNG)
    (root / "reports/figures/loss.png").write_bytes(PNG)
    clock = {"started": "2026-01-02T03:04:05+00:00", "seconds": 30.0, "machine": "cpu"}
    write_json(root / ".retrace/train.json", {**clock, "model": digests["model.safetensors"]})
    (root / ".retrace/ran").write_text("split\nbaseline\ntrain\nevaluate\nplot\n")
    write_scores(root, [True, True, True, False])


def write_scores(root: Path, right: list[bool], **boosting: float) -> None:
    """What `evaluate` says when these test rows are right, and the dvc.lock of it; boosting: of the last baseline."""
    pq.write_table(pa.table({"actual": [1] * len(right), "predicted": right}), root / "reports/predictions.parquet")
    correct = sum(right)
    training = json.loads((root / "models/training.json").read_text())
    chosen = training.get("mean") or training["replicas"][SHIPPED]
    headline = Metric(correct / len(right), 0.5, 0.9, mean=0.7, deviation=0.05, jackknife=None)
    of_class = ClassScores(precision=0.5, recall=0.75, f1=0.6, rows=2)
    log_loss = (0.7, -0.3, -0.4, -0.2)
    names = ("majority", "logistic_regression", "gradient_boosting")
    baseline = {name: Comparison(0.5, 2, 0.25, 0.1, 0.4, *log_loss) for name in names}
    baseline["gradient_boosting"] = replace(baseline["gradient_boosting"], **boosting)
    content = Scores(
        **(dict.fromkeys(HEADLINES, headline) | {"macro_f1": replace(headline, low=0.92)}),
        rows=len(right),
        correct=correct,
        confidence=0.95,
        threshold=0.5,
        classes={"plain": of_class, ODD_CLASS: of_class},
        bayes=Comparison(0.8, 3, 0.25, 0.1, 0.4, *log_loss),
        baseline=baseline,
        training=ShippedTraining(REPLICAS, training["shipped"], chosen["best_epoch"], chosen["best_validation_loss"]),
    )
    write_json(root / SCORES, asdict(content))
    write_json(root / "reports/baseline.json", {"majority": {"accuracy": 0.5}})
    write_lock(root)


def write_lock(root: Path, learning_rate: float = 0.1, code: str = "1" * 32) -> None:
    """dvc.lock as DVC writes it, true to the files on disk."""
    train = {**VALUES["train"], "optimizer": {**VALUES["train"]["optimizer"], "learning_rate": learning_rate}}
    outs = {
        "split": ["data/train.parquet", "data/validation.parquet", "data/test.parquet", "data/schema.json"],
        "baseline": ["reports/baseline.json"],
        "train": ["models/model.json", "models/model.safetensors", "models/training.json", "reports/history.csv"],
        "evaluate": ["reports/scores.json", "reports/confusion_matrix.csv", "reports/classification_report.txt"],
        "plot": ["reports/figures/confusion_matrix.png", "reports/figures/loss.png"],
        "report": ["reports/report.html"],
    }
    outs["train"].append("reports/steps.parquet")
    outs["split"] += ["reports/data.json", "reports/data.md"]
    outs["evaluate"] += [f"reports/{name}.csv" for name in TABLES] + ["reports/predictions.parquet"]
    sections = {**VALUES, "train": train}
    stages = {
        name: {
            "cmd": f"python -m stages.{name}",
            "deps": [{"path": f"stages/{name}.py", "hash": "md5", "md5": code, "size": 1}],
            "params": {"params.yaml": {name: sections[name]}},
            "outs": [{"path": path, "hash": "md5", "md5": md5(root / path)} for path in paths],
        }
        for name, paths in outs.items()
    }
    stages["evaluate"]["deps"] += [{"path": f"{path}", "hash": "md5", "md5": md5(root / path)} for path in CODE]
    stages["validate"] = {"cmd": "python -m stages.validate", "deps": [{"path": "params.yaml", "md5": "0"}]}
    stages["record"] = {"cmd": "python -m stages.record", "outs": [{"path": ".retrace/recorded", "md5": "0"}]}
    with open(root / "dvc.lock", "w", encoding="utf-8") as file:
        YAML().dump({"schema": "2.0", "stages": stages}, file)


def rows(root: Path, query: str, *values) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as connection:
        return connection.execute(query, values).fetchall()


def runs(root: Path, experiment: str) -> list[str]:
    query = "SELECT run_uuid FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = ? ORDER BY rowid"
    return [run_id for (run_id,) in rows(root, query.replace("rowid", "runs.rowid"), experiment)]


def tags(root: Path, run_id: str) -> dict[str, str]:
    return dict(rows(root, "SELECT key, value FROM tags WHERE run_uuid = ?", run_id))


def logged(root: Path, run_id: str) -> list[tuple]:
    return sorted(rows(root, "SELECT key, step, value, timestamp FROM metrics WHERE run_uuid = ?", run_id))


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **changes}


def start(root: Path, *code: str, **changes: str) -> "subprocess.Popen[str]":
    """A process in the project: the stage, or the given Python."""
    command = [warm.forked(), *(("-c", *code) if code else ("-m", "stages.record"))]
    return subprocess.Popen(
        command,
        cwd=root,
        env=environment(**changes),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def fetch(url: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, b""
