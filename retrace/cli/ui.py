"""`make ui`: the recorded runs in a browser, for who started it only.

Starts MLflow lean: as it comes it runs fourteen processes in 2.6 GB. Prints one line with the link that lands on the
runs, in a view with the columns that tell them apart; Ctrl-C ends the server and all its processes.

MLflow asks nobody for a password. So the server stands behind a door (`retrace.cli.ui_server`): it answers only who has
the token in that link, which is another one at each start. It listens on this machine's own address, answers only to
the names that this address has, and takes none of its settings from the environment; `--address` lets other machines
reach it, with that link, and only together with `--open-to-network`.
"""

from retrace.runtime.run import REFUSE_PICKLES

import contextlib
import errno
import ipaddress
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import click
import psutil

from retrace.cli.ui_server import Place, cookie
from retrace.params.reader import read
from retrace.params.record import Record
from retrace.runtime.errors import BAD_PARAMS, MACHINE_FAULT, UserError
from retrace.tracking.location import Store, exists, locate
from retrace.tracking.mlflow_internals.database import check_schema_version, experiment_in
from retrace.tracking.run_files import PICTURES
from retrace.tracking.store import relocate
from retrace.tracking.store_errors import store_error

HOST, EVERY_HOST = "127.0.0.1", "0.0.0.0"
# Of MLflow and of what it runs on: they would open the server, or send it to another store.
SETTINGS = ("MLFLOW_", "_MLFLOW_", "UVICORN_", "GUNICORN_", "FLASK_", "FORWARDED_")
FIRST_PORT = 5000
PORTS = 100
START_SECONDS = 60
STOP_SECONDS = 5
LOG = Path(".retrace/ui.log")
OPENED = (
    "other machines reach the server, too; whoever has the link can read, change and delete all runs and their files,"
    " and it travels unencrypted: whoever can listen on the way has it"
)

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


@click.command(epilog="Example: retrace ui")
@click.option("--address", default=HOST, help="IPv4 address of this machine that others may ask; 0.0.0.0: all.")
@click.option(
    "--open-to-network", is_flag=True, help="Yes, whoever gets hold of the link may change and delete all runs."
)
def command(address: str, open_to_network: bool) -> None:
    """The recorded runs in a browser, for who started it only. Prints the link; Ctrl-C ends it."""
    check(address, open_to_network)
    store = locate(read(Record).experiment)
    if store.uri.startswith(("http://", "https://")):
        print(f"ui: the runs are on the server {store.shown}; open that in a browser")
        return
    experiment = find_experiment(store)
    relocate(store)
    log = store.root / LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_urlsafe(32)
    with listen(address) as listening, open(log, "wb") as file:
        port = listening.getsockname()[1]
        artifacts = store.artifacts.as_uri() if store.artifacts else None
        place = Place(token, names(address), port, listening.fileno(), store.uri, artifacts)
        # A session of its own, so that the server's children can be ended with it.
        server = subprocess.Popen(
            [sys.executable, "-m", "retrace.cli.ui_server"],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment(place),
            start_new_session=True,
            pass_fds=[place.file],
        )
        try:
            assert server.stdin
            with contextlib.suppress(BrokenPipeError), server.stdin:
                server.stdin.write(json.dumps(place._asdict()).encode())
            listening.close()  # here, so that a server that ended leaves nobody waiting
            base = f"http://{HOST if address == EVERY_HOST else address}:{port}"
            owner = {"Cookie": f"{cookie(port)}={token}"}
            wait(server, base, owner, store, log)
            shared = experiment is not None and share_view(base, owner, experiment)
            print(f"ui: {link(base, token, experiment, shared)} (Ctrl-C ends it)", flush=True)
            if open_to_network:
                print(f"ui: {OPENED}", file=sys.stderr, flush=True)
            server.wait()
        except KeyboardInterrupt:
            print("\nui: ended")
            return
        finally:
            end(server)
    raise UserError(MACHINE_FAULT, f"ui: the server ended by itself with status {server.returncode}; {log} says why")


def check(address: str, opened: bool) -> None:
    """Raise UserError where the address is none, or lets others in and nobody said that they may."""
    try:
        local = ipaddress.IPv4Address(address).is_loopback
    except ValueError:
        raise UserError(
            BAD_PARAMS, f"ui: {address!r} must be an IPv4 address of this machine; without one it is {HOST}"
        ) from None
    if not local and not opened:
        raise UserError(
            BAD_PARAMS,
            f"ui: at {address} {OPENED}; if that is wanted: make ui ADDRESS={address} OPEN_TO_NETWORK=1;"
            f" else keep to {HOST}, and come from elsewhere with: ssh -L {FIRST_PORT}:{HOST}:{FIRST_PORT} THIS_MACHINE",
        )


def find_experiment(store: Store) -> str | None:
    """The id of the project's experiment, or None where only MLflow can ask; raises UserError where nothing is yet."""
    if store.database is None:
        return None
    nothing = (
        f"ui: {store.database} has no runs of experiment {store.experiment} yet; run: make run, or make record where"
        " the pipeline has nothing to do"
    )
    if not exists(store.database):
        raise UserError(MACHINE_FAULT, nothing)
    try:
        experiment = experiment_in(store.database, store.experiment)
    except sqlite3.Error as error:
        raise store_error(error, store) from None
    if experiment is None:
        raise UserError(MACHINE_FAULT, nothing)
    return experiment


def listen(address: str) -> socket.socket:
    """A socket that listens on the first free port: held from here on, so that nobody else can take the port."""
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        listening = socket.socket()
        # A connection that closed a moment ago does not count as in use.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((address, port))
            listening.listen()
            return listening
        except OSError as error:
            listening.close()
            if error.errno == errno.EADDRNOTAVAIL:
                raise UserError(BAD_PARAMS, f"ui: this machine has no address {address}") from None
    raise UserError(
        MACHINE_FAULT, f"ui: no free port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1}; end another server first"
    )


def names(address: str) -> list[str]:
    """By which a page may ask. MLflow's own list has patterns, such as 10.*, which 10.example.com fits as well."""
    if ipaddress.IPv4Address(address).is_loopback:
        return [address, "localhost"]
    if address != EVERY_HOST:
        return [address, socket.gethostname()]
    found = [each.address for some in psutil.net_if_addrs().values() for each in some if each.family == socket.AF_INET]
    return [*dict.fromkeys([HOST, "localhost", *found, socket.gethostname()])]


def environment(place: Place) -> dict[str, str]:
    # MLflow looks at hosts and origins as well: a second lock on the same door.
    hosts = [f"{name}:{place.port}" for name in place.names]
    given = {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"http://{host}" for host in hosts),
    }
    lean = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    return {**kept, **REFUSE_PICKLES, **lean, **given}


def wait(server: "subprocess.Popen[bytes]", base: str, owner: dict[str, str], store: Store, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    request = urllib.request.Request(f"{base}/version", headers=owner)
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), _open(request, timeout=2):
            return
        time.sleep(0.2)
    if store.database:
        check_schema_version(store, store.database)  # a store of another MLflow is the likeliest reason
    raise UserError(MACHINE_FAULT, f"ui: the server did not start; {log} says why")


def share_view(base: str, owner: dict[str, str], experiment: str) -> bool:
    """Keep the view where MLflow's own saved views are, a tag of the experiment; False when it cannot be kept.

    A view that a person saved under another name, or has in the browser, stays as it is.
    """
    try:
        query = {"experiment_ids": [experiment], "max_results": PAGE, "order_by": ["attributes.start_time DESC"]}
        runs = _post(base, owner, "runs/search", query).get("runs", [])
        params = [{param["key"]: param["value"] for param in run["data"].get("params", [])} for run in runs]
        now = time.time_ns() // 1_000_000
        saved = {"name": VIEW_NAME, "createdAt": now, "updatedAt": now, "state": json.dumps(view(params))}
        tag = {"key": f"mlflow.sharedViewState.{VIEW}", "value": json.dumps(saved)}
        _post(base, owner, "experiments/set-experiment-tag", {"experiment_id": experiment, **tag})
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


def _post(base: str, owner: dict[str, str], path: str, content: dict[str, Any]) -> dict[str, Any]:
    url, body = f"{base}/ajax-api/2.0/mlflow/{path}", json.dumps(content).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **owner})
    with _open(request, timeout=VIEW_SECONDS) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def link(base: str, token: str, experiment: str | None, shared: bool) -> str:
    """Without the type of workflow a newcomer lands on an empty page about traces of language models."""
    page = f"#/experiments/{experiment}/runs?workflowType=machine_learning" if experiment else ""
    return f"{base}/?token={token}{page}{f'&viewStateShareKey={VIEW}' if shared else ''}"


def end(server: "subprocess.Popen[bytes]") -> None:
    """End the server and all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(STOP_SECONDS)
    server.wait()
