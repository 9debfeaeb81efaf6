"""`make ui` answers its owner alone, and params.yaml keeps no secret: real servers, real requests, real messages."""

import contextlib
import http.client
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from retrace.cli import ui
from retrace.cli.ui_server import ROUTES
from retrace.params.reader import check
from retrace.runtime.errors import BAD_PARAMS, MACHINE_FAULT, UserError
from stages.validate import SECTIONS
from tests import project, warm
from tests.conftest import PARAMS, ROOT
from tests.served import Served, served
from tests.state import make_state

# What would open the server, or send it elsewhere, if it listened to it.
OPENING = {
    **{"MLFLOW_HOST": "0.0.0.0", "MLFLOW_SERVER_ALLOWED_HOSTS": "*", "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "*"},
    **{"MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true", "MLFLOW_SERVER_X_FRAME_OPTIONS": "NONE"},
    **{"MLFLOW_UVICORN_OPTS": "--host 0.0.0.0", "UVICORN_HOST": "0.0.0.0", "UVICORN_UDS": "open.socket"},
    **{"GUNICORN_CMD_ARGS": "--bind 0.0.0.0:5999", "FORWARDED_ALLOW_IPS": "*", "FLASK_DEBUG": "1"},
}


def environment(**changes: str) -> dict[str, str]:
    """Without what another test in this process may have left of MLFLOW_EXPERIMENT_NAME and the like."""
    return {**project.environment(), "PYTHONPATH": str(ROOT), **changes}


@pytest.fixture(scope="module")
def door(tmp_path_factory) -> Iterator[Served]:
    """`make ui` over a real store, started where everything asks it to open."""
    root = tmp_path_factory.mktemp("ui")
    make_state(root)
    command = [warm.forked(), "-m", "stages.record"]
    subprocess.run(command, cwd=root, env=environment(), capture_output=True, check=True)
    with served(root, environment(**OPENING), sys.executable) as found:
        yield found


SEARCH = "/ajax-api/2.0/mlflow/experiments/search"


def asked(port: int, method: str, path: str, **headers: str) -> int:
    return answered(port, method, path, **headers).status


def answered(port: int, method: str, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, b'{"max_results": 5}' if method == "POST" else None, given)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def registered() -> set[tuple[str, str]]:
    """Every method and path that MLflow has, those that it will add included, as far as they can be guessed."""
    from mlflow.server import app
    from mlflow.server.fastapi_app import app as native

    found = {(method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods}
    for route in native.routes:
        for context in getattr(route, "effective_route_contexts", list)():
            found |= {(method, context.path) for method in context.methods or ()}
    assert len(found) > 400
    assert ("PUT", "/ajax-api/3.0/mlflow/assistant/config") in found
    later = {
        (method, f"/ajax-api/4.0/mlflow/{name}") for method in ("GET", "POST") for name in ("agents", "runs/search")
    }
    return {(method, re.sub(r"<[^>]*>|\{[^}]*\}", "x", path)) for method, path in found | later}


NEVER = re.compile(
    "assistant|gateway|job|scorer|prompt|webhook|invoke|trace|demo|mcp|upload|presigned|workspace|agents"
)


def test_where_every_port_is_taken_one_server_less_is_enough(door):
    """On another address of this machine, so that nobody else misses a port."""
    command = [sys.executable, "-m", "retrace", "ui", "--address", "127.0.0.2"]
    with contextlib.ExitStack() as stack:
        taken = []
        for port in range(ui.FIRST_PORT, ui.FIRST_PORT + ui.PORTS):
            taken.append(stack.enter_context(socket.socket()))
            taken[-1].bind(("127.0.0.2", port))
            taken[-1].listen()
        done = subprocess.run(command, cwd=door.root, env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == MACHINE_FAULT
        assert done.stderr.endswith("; end another server first\n"), done.stderr
        taken[7].close()
        process = subprocess.Popen(command, cwd=door.root, env=environment(), stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline().startswith(f"ui: http://127.0.0.2:{ui.FIRST_PORT + 7}/")
        process.terminate()
        process.communicate()


def test_s14_it_listens_on_this_machine_alone(door):
    listening = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            _, address, _, state, *_ = line.split()
            if state == "0A" and int(address.rpartition(":")[2], 16) in (door.port, 5999):
                listening.add(address)
    assert listening == {f"0100007F:{door.port:04X}"}


def test_another_account_gets_403_for_every_route_that_mlflow_has(door):
    other_start = secrets.token_urlsafe(32)
    cookie = ui.cookie(door.port)
    keys = (
        *({}, {"Cookie": f"{cookie}={other_start}"}, {"Cookie": f"{cookie}="}, {"Cookie": cookie}),
        *({"Authorization": f"Bearer {door.token[:-1]}"}, {"Cookie": f"other={door.token}"}),
    )
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=30)
    for method, path in sorted(registered()):
        for key in keys:
            connection.request(method, f"{path}?token={other_start}", headers=key)
            response = connection.getresponse()
            response.read()
            assert response.status == 403, (method, path, key)
    assert asked(door.port, "GET", f"/?token={door.token}&token={door.token}") == 403
    assert asked(door.port, "GET", f"/health?token={door.token}") == 403, "the token opens the start only"


def test_the_owner_has_the_routes_of_the_pages_and_no_other(door):
    allowed = {(method, path) for method, path in registered() if method in ROUTES and fits(method, path)}
    assert {path for _, path in allowed if NEVER.search(path)} == set()
    for method, path in sorted(registered() - allowed - {("GET", "/")}):
        assert asked(door.port, method, path, **door.own) == 404, (method, path)
    for method, paths in ROUTES.items():
        for pattern in paths:
            assert any(one == method and re.fullmatch(pattern, path) for one, path in allowed), (
                f"{pattern} opens nothing"
            )
    for path in ("/", "/version", "/static-files/index.html"):
        assert asked(door.port, "GET", path, **door.own) == 200
    for odd in ("//ajax-api/3.0/mlflow/assistant/config", "/static-files/../ajax-api/3.0/mlflow/assistant/config"):
        assert asked(door.port, "GET", odd, **door.own) == 404


def fits(method: str, path: str) -> bool:
    return any(re.fullmatch(pattern, path) for pattern in ROUTES[method])


def test_the_queries_that_graphql_answers_are_known():
    """One route, many questions: a later MLflow that answers more of them is to be looked at first."""
    from mlflow.server.graphql.graphql_schema_extensions import schema

    reading = re.compile("test|mlflow(Get|Search|List)[A-Z]")
    kinds = (schema.graphql_schema.query_type, schema.graphql_schema.mutation_type)
    assert [name for kind in kinds for name in kind.fields if not reading.match(name)] == []


def test_the_token_becomes_a_cookie_that_no_script_and_no_other_site_gets(door):
    response = answered(door.port, "GET", f"/?token={door.token}")
    assert (response.status, response.getheader("location")) == (303, "/")
    kept = f"{ui.cookie(door.port)}={door.token}; Path=/; HttpOnly; SameSite=Lax"
    assert response.getheader("set-cookie") == kept


def test_the_token_stands_nowhere_but_in_the_link(door):
    asked(door.port, "GET", f"/?token={door.token}")
    for path in door.root.rglob("*"):
        assert not path.is_file() or door.token.encode() not in path.read_bytes(), path
    for process in psutil.Process(door.process.pid).children(recursive=True):
        assert door.token not in " ".join([*process.cmdline(), *process.environ().values()])


def test_s15_a_name_that_begins_like_an_address_of_a_home_is_refused(door):
    port, own = door.port, door.own
    assert asked(port, "GET", "/", Host=f"127.0.0.1:{port}", **own) == 200
    assert asked(port, "GET", "/", Host=f"localhost:{port}", **own) == 200
    others = ("10.evil.com", "127.0.0.1.evil.com", "192.168.evil.com", "localhost.evil.com", "evil.com", "127.0.0.1:1")
    for host in (*others, f"10.evil.com:{port}", f"127.0.0.1.evil.com:{port}", f"localhost:{port}.evil.com", "*"):
        for path in ("/", SEARCH, "/get-artifact?path=x&run_uuid=y", "/static-files/index.html", "/health"):
            assert asked(port, "GET", path, Host=host, **own) == 403, (host, path)


def test_s16_a_page_of_another_site_changes_nothing(door):
    port = door.port
    own = {"Host": f"127.0.0.1:{port}", "Content_Type": "application/json", **door.own}
    assert asked(port, "POST", SEARCH, **own) == 200
    assert asked(port, "POST", SEARCH, **own, Origin=f"http://127.0.0.1:{port}") == 200
    elsewhere = ("http://127.0.0.1:8888", "http://localhost:8888", "http://[::1]:3000")  # of another account
    for origin in ("http://evil.com", "https://127.0.0.1.evil.com", f"http://10.evil.com:{port}", "null", *elsewhere):
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert asked(port, method, SEARCH, **own, Origin=origin) == 403, (method, origin)
    for site in ("cross-site", "same-site"):
        assert asked(port, "GET", "/version", **own, Sec_Fetch_Site=site) == 403
    assert asked(port, "GET", "/version", **own, Sec_Fetch_Site="same-origin") == 200


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.5", "8.8.8.8"])
def test_s14_another_address_is_refused_until_it_is_said_what_it_opens(address):
    with pytest.raises(UserError, match="whoever has the link can read, change and delete") as caught:
        ui.check(address, False)
    assert caught.value.status == BAD_PARAMS
    assert "OPEN_TO_NETWORK=1" in str(caught.value)
    ui.check(address, True)


@pytest.mark.parametrize(
    "address", ["", "::", "localhost", "1.2.3", "$(touch canary)", "127.0.0.1 --workers 9", "\x1b[2J"]
)
def test_what_is_no_address_is_refused_in_one_line(address):
    with pytest.raises(UserError, match="must be an IPv4 address of this machine") as caught:
        ui.check(address, True)
    assert str(caught.value).isprintable()


def test_the_names_that_it_answers_to_are_a_list(tmp_path):
    assert ui.names("127.0.0.1") == ["127.0.0.1", "localhost"]
    assert ui.names("192.168.1.5") == ["192.168.1.5", socket.gethostname()]
    every = ui.names("0.0.0.0")
    assert {"127.0.0.1", "localhost", socket.gethostname()} <= set(every)
    assert not any("*" in name or name == "0.0.0.0" for name in every)


def test_make_hands_the_address_over_as_it_is():
    for given in ("0.0.0.0", "`touch canary`", '"; touch canary; "'):
        command = ["make", "--dry-run", "ui", f"ADDRESS={given}"]
        shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert '--address "$ADDRESS"' in shown
        assert "canary" not in shown


# --- params.yaml ----------------------------------------------------------------------------------------------------

SECRET = "hunter2-canary"


def lines(old: str, new: str) -> list[str]:
    assert PARAMS.count(old) >= 1
    Path("params.yaml").write_text(PARAMS.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        check(SECTIONS)
    assert caught.value.status == BAD_PARAMS
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    "key", ["password", "API_KEY", "aws_secret_access_key", "hf_token", "db_passwd", "private-key"]
)
@pytest.mark.parametrize("value", ["{}", "0x1F", "2026-01-01", "!!python/name:x {}", "[{}]", "{{a: {}}}", "010"])
def test_a_key_that_is_called_like_a_secret_is_refused_and_its_value_not_shown(project, key, value):
    value = value.format(SECRET)
    (line,) = lines("  seed: 26 ", f"  {key}: {value}\n  seed: 26 ")
    assert re.match(rf"params\.yaml:\d+: create\.{key} must not be here, since it is called like a secret; ", line)
    assert SECRET not in line
    assert "0x1F" not in line
    assert "2026" not in line


@pytest.mark.parametrize(
    "text",
    [
        *(
            f"sqlite://me:{SECRET}@host/x",
            f"https://me:{SECRET}@host",
            "AKIA" + "ABCDEFGH12345678",
            "ghp_" + "a1B2" * 9,
        ),
        *(
            "github_pat_" + "a1B2" * 9,
            "glpat-" + "a1B2" * 6,
            "xoxb-" + "1234567890-a",
            "-----BEGIN RSA " + "PRIVATE KEY-----",
        ),
        *("sk-" + "a1B2" * 8, "hf_" + "a1B2" * 9, "AIza" + "a1B2c" * 7, "eyJhbGciOiJI" + "." + "eyJzdWIiOiIx" + ".x"),
    ],
)
@pytest.mark.parametrize("place", ["experiment: retrace", "# MLflow", "target: class"])
def test_a_secret_anywhere_in_the_file_is_refused_and_not_shown(project, text, place):
    name = place.partition(" ")[0]
    (line,) = lines(place, f"{name} '{text}'")
    assert re.match(r"params\.yaml:\d+: must hold no key or password, and here seems to be one; ", line)
    assert text not in line
    assert SECRET not in line


@pytest.mark.parametrize("text", ["task-force-of-twenty-letters-more", "a://b", "monkey", "password", "secret sauce"])
def test_a_text_that_is_no_secret_is_none(project, text):
    Path("params.yaml").write_text(PARAMS.replace("target: class ", f"target: '{text}' ", 1))
    check(SECTIONS)
