"""`make ui`: the recorded runs in a browser, on this machine only.

Starts MLflow lean: as it comes it runs fourteen processes in 2.6 GB. Prints one line with the link that lands on the
runs, in a view with the columns that tell them apart; Ctrl-C ends the server and all its processes.
"""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from stages.params.reader import read
from stages.params.record import Record
from stages.process.faults import MACHINE_FAULT, Fault
from stages.process.run import run
from stages.tracking.artifacts import PICTURES
from stages.tracking.store import Store, exists, locate, match, mend

HOST = "127.0.0.1"
FIRST_PORT = 5000
PORTS = 100
START_SECONDS = 60
STOP_SECONDS = 5
LOG = Path(".retrace/ui.log")

# The view: MLflow itself shows no metric, no parameter, and of a run's name the first half.
VIEW, VIEW_NAME = "retrace", "What differs"
METRICS = ("test/accuracy", "test/accuracy_low", "best/epoch", "best/validation_loss")
MOST_PARAMS = 8
FIGURES = "figures"
FIRST_GROUPS = ("train", "validation", FIGURES)  # of charts
PICTURES_SIDE_BY_SIDE = {"columns": 1, "cardHeight": 480}  # a card as wide as the page
PAGE = 100  # runs that MLflow's table asks for at first
WIDTHS = {"attributes.`Run Name`": 330, "runDateAndNestInfo": 130, "duration": 80}  # pixels
VIEW_SECONDS = 10

# Without the proxy that the environment may name: it knows nothing of this machine's own servers.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def main() -> None:
    store = locate(read(Record).experiment)
    if store.uri.startswith(("http://", "https://")):
        print(f"ui: the runs are on the server {store.shown}; open that in a browser")
        return
    experiment = find_experiment(store)
    mend(store)
    port = free_port()
    log = store.root / LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as file:
        # A session of its own, so that the server's children can be ended with it.
        server = subprocess.Popen(
            command(store, port), stdout=file, stderr=subprocess.STDOUT, env=environment(), start_new_session=True
        )
        try:
            wait(server, port, store, log)
            shared = experiment is not None and share_view(port, experiment)
            print(f"ui: {link(port, experiment, shared)} (Ctrl-C ends it)", flush=True)
            server.wait()
        except KeyboardInterrupt:
            print("\nui: ended")
            return
        finally:
            end(server)
    raise Fault(MACHINE_FAULT, f"ui: the server ended by itself with status {server.returncode}; {log} says why")


def find_experiment(store: Store) -> str | None:
    """The id of the project's experiment, or None where only MLflow can ask; raises Fault where nothing is yet."""
    if store.database is None:
        return None
    nothing = (
        f"ui: {store.database} has no runs of experiment {store.experiment} yet; run: make run, or make record where"
        " the pipeline has nothing to do"
    )
    if not exists(store.database):
        raise Fault(MACHINE_FAULT, nothing)
    try:
        with contextlib.closing(sqlite3.connect(store.database, timeout=20)) as connection:
            row = connection.execute(
                "SELECT experiment_id FROM experiments WHERE name = ? AND lifecycle_stage = 'active'",
                (store.experiment,),
            ).fetchone()
    except sqlite3.Error as error:
        raise store.broken(error) from None
    if row is None:
        raise Fault(MACHINE_FAULT, nothing)
    return str(row[0])


def free_port() -> int:
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        with socket.socket() as probe:
            # As the server will bind it: a connection that closed a moment ago does not count as in use.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                return port
    raise Fault(
        MACHINE_FAULT, f"ui: no free port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1}; end another server first"
    )


def command(store: Store, port: int) -> list[str]:
    # The names under which a page may ask: without them any site could, through a name that resolves to this machine.
    names = f"{HOST}:{port},localhost:{port}"
    place = ["--default-artifact-root", store.artifacts.as_uri()] if store.artifacts else []
    return [
        *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store.uri, *place),
        *("--host", HOST, "--port", str(port), "--workers", "1", "--allowed-hosts", names),
    ]


def environment() -> dict[str, str]:
    lean = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    # The server is the store's own; a variable that names another one would send it there.
    return {**{name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}, **lean}


def wait(server: "subprocess.Popen[bytes]", port: int, store: Store, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), _open(f"http://{HOST}:{port}/health", timeout=2):
            return
        time.sleep(0.2)
    if store.database:
        match(store, store.database)  # a store of another MLflow is the likeliest reason
    raise Fault(MACHINE_FAULT, f"ui: the server did not start; {log} says why")


def share_view(port: int, experiment: str) -> bool:
    """Keep the view where MLflow's own saved views are, a tag of the experiment; False when it cannot be kept.

    A view that a person saved under another name, or has in the browser, stays as it is.
    """
    try:
        asked = {"experiment_ids": [experiment], "max_results": PAGE, "order_by": ["attributes.start_time DESC"]}
        runs = _post(port, "runs/search", asked).get("runs", [])
        params = [{param["key"]: param["value"] for param in run["data"].get("params", [])} for run in runs]
        now = time.time_ns() // 1_000_000
        saved = {"name": VIEW_NAME, "createdAt": now, "updatedAt": now, "state": json.dumps(view(params))}
        tag = {"key": f"mlflow.sharedViewState.{VIEW}", "value": json.dumps(saved)}
        _post(port, "experiments/set-experiment-tag", {"experiment_id": experiment, **tag})
    except Exception:
        # A store that is read-only, a server that is too slow, another MLflow: the plain table is better than none.
        return False
    return True


def view(params: list[dict[str, str]]) -> dict[str, Any]:
    """MLflow's state of a table of runs with these parameters, in which columns are the headlines and what differs."""
    values = {key: {run.get(key) for run in params} for run in params for key in run}
    differing = sorted((key for key in values if len(values[key]) > 1), key=lambda key: (-len(values[key]), key))
    columns = {f"metrics.`{key}`": key for key in METRICS}
    columns |= {f"params.`{key}`": key for key in sorted(differing[:MOST_PARAMS])}
    return {
        "selectedColumns": [*columns],
        "columnOrder": [*WIDTHS, *columns],
        # As wide as its title: a letter takes six pixels.
        "columnWidths": {**WIDTHS, **{column: 26 + 6 * len(title) for column, title in columns.items()}},
        # MLflow puts charts in order of their groups' names, and so the curves below a hundred bars.
        "compareRunSections": [
            {"uuid": name, "name": name, "display": True, **(PICTURES_SIDE_BY_SIDE if name == FIGURES else {})}
            for name in FIRST_GROUPS
        ],
        "compareRunCharts": [picture_chart(name) for name in PICTURES],
        "isAccordionReordered": True,
    }


def picture_chart(name: str) -> dict[str, Any]:
    """One picture of each run, side by side; MLflow's own card hides them below the run's parameters."""
    place = {"uuid": name, "type": "IMAGE", "metricSectionId": FIGURES, "displayName": name, "deleted": False}
    shown = {"imageKeys": [name], "step": 0, "showRunParams": False, "runsCountToCompare": 10}
    return {**place, **shown, "isGenerated": False}


def _post(port: int, path: str, content: dict[str, Any]) -> dict[str, Any]:
    url, body = f"http://{HOST}:{port}/api/2.0/mlflow/{path}", json.dumps(content).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with _open(request, timeout=VIEW_SECONDS) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def link(port: int, experiment: str | None, shared: bool) -> str:
    """Without the type of workflow a newcomer lands on an empty page about traces of language models."""
    page = f"#/experiments/{experiment}/runs?workflowType=machine_learning" if experiment else ""
    return f"http://{HOST}:{port}/{page}{f'&viewStateShareKey={VIEW}' if shared else ''}"


def end(server: "subprocess.Popen[bytes]") -> None:
    """End the server and all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(STOP_SECONDS)
    server.wait()


if __name__ == "__main__":
    run(main)
