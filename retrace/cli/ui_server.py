"""MLflow's server behind a door: only who has the token that `make ui` printed gets in, and only to the pages' routes.

MLflow asks nobody who they are, and every account of a machine reaches 127.0.0.1. Its assistant runs commands for
whoever asks, its gateway and webhooks speak to any address. So nothing of a request reaches MLflow unless it comes with
the token (once in the link, then in a cookie, as Jupyter does), from a page of this very server, and for a route that
is named here: a route that a later MLflow adds is not there.

`retrace.cli.ui` starts it, and hands over what it needs on standard input: all accounts can read a process's arguments.
"""

import hmac
import json
import re
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from retrace.tracking.mlflow_internals.server import application

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

AJAX = "/ajax-api/2.0/mlflow/"
ONE = "[^/]+"
# What the pages of runs, run, charts, comparison, files, models, versions and data sets ask for.
# tests/browser clicks through them; tests/faults tries every other route that MLflow has. Refused on purpose, though a
# page has a button for it:
# - to create, log to, or upload to a run: only the pipeline records, else a number would not lead back to its making;
# - to create, rename or delete an experiment, and to delete a logged model: params.yaml names the one, a recorded run
#   and a version refer to the other, and no page brings them back;
# - links for downloads that a store has signed, and credentials: the page falls back on /get-artifact;
# - pages about language models (traces, prompts, evaluation data sets), roles, and usage statistics: nothing is there.
ROUTES = {
    "GET": (
        "/static-files/.+",
        *("/version", "/get-artifact", "/model-versions/get-artifact", "/ajax-api/3.0/mlflow/server-info"),
        *(f"{AJAX}experiments/{last}" for last in ("get", "get-by-name", "search")),
        *(f"{AJAX}{path}" for path in ("runs/get", "artifacts/list")),
        *(f"{AJAX}metrics/{last}" for last in ("get-history", "get-history-bulk", "get-history-bulk-interval")),
        *(f"{AJAX}logged-models/{ONE}{last}" for last in ("", "/artifacts/directories", "/artifacts/files")),
        *(f"{AJAX}registered-models/{last}" for last in ("get", "search", "alias", "get-latest-versions")),
        *(f"{AJAX}model-versions/{last}" for last in ("get", "search", "get-download-uri")),
    ),
    "POST": (
        "/graphql",
        *(f"{AJAX}experiments/{last}" for last in ("search", "search-datasets")),
        *(f"{AJAX}experiments/{last}-experiment-tag" for last in ("set", "delete")),
        *(f"{AJAX}runs/{last}" for last in ("search", "update", "delete", "restore", "set-tag", "delete-tag")),
        f"{AJAX}logged-models/search",
        *(f"{AJAX}registered-models/{last}" for last in ("create", "rename", "set-tag", "alias")),
        f"{AJAX}registered-models/get-latest-versions",
        *(f"{AJAX}model-versions/{last}" for last in ("create", "set-tag", "transition-stage")),
    ),
    "PATCH": (
        *(f"{AJAX}{path}/update" for path in ("registered-models", "model-versions")),
        f"{AJAX}logged-models/{ONE}/tags",
    ),
    "DELETE": (
        *(
            f"{AJAX}{path}/{last}"
            for path in ("registered-models", "model-versions")
            for last in ("delete", "delete-tag")
        ),
        f"{AJAX}registered-models/alias",
        f"{AJAX}logged-models/{ONE}/tags/{ONE}",
    ),
}
_ROUTES = {method: re.compile("|".join(paths)) for method, paths in ROUTES.items()}

# A newcomer's page opens the assistant, shows what a gateway said (there is none), and calls the view of `make ui` a
# stranger's.
GREETING = """<script>
try {
    localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true")
    localStorage.setItem("mlflow.assistant.panelOpen_v1", "false")
} catch {}
const ask = window.fetch
window.fetch = (what, ...how) =>
    String(what?.url ?? what).includes("/gateway-proxy")
        ? Promise.resolve(Response.json({endpoints: []}))
        : ask(what, ...how)
</script><style>
#root [data-assistant-ui], #root [data-component-id="mlflow.experiment_page.shared_view.banner"] {
    display: none !important
}
</style>"""


class Place(NamedTuple):
    """names: by which a page may ask for it, with the port. file: the number of the socket that listens."""

    token: str
    names: list[str]
    port: int
    file: int
    uri: str
    artifacts: str | None


def cookie(port: int) -> str:
    """A cookie's name: browsers tell hosts apart, but not their ports."""
    return f"retrace-ui-{port}"


class Door:
    """An application that lets the owner through to `inside`, and to the page; without the token 403 for everything."""

    def __init__(self, place: Place, page: bytes, inside: Application):
        self.place, self.page, self.inside = place, page, inside
        self.hosts = {f"{name}:{place.port}" for name in place.names}
        self.cookie = cookie(place.port)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.inside(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
            await self.answer(scope, headers, receive, send)

    async def answer(self, scope: Message, headers: list[tuple[str, str]], receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        start = method == "GET" and path == "/"
        if not self.from_here(headers, start):
            await _answer(send, 403, "this server answers its own pages only")
        elif start and self.fits(parse_qs(scope["query_string"].decode("latin-1")).get("token", [])):
            # A browser takes what stands behind # along to where it is sent, and leaves the token behind.
            kept = f"{self.cookie}={self.place.token}; Path=/; HttpOnly; SameSite=Lax"
            await _answer(send, 303, "", location="/", set_cookie=kept)
        elif not self.fits(_cookies(headers, self.cookie)):
            await _answer(send, 403, "this server answers its owner only: open the link that `make ui` printed")
        elif start:
            await _answer(send, 200, self.page, "text/html; charset=utf-8")
        elif method in _ROUTES and _ROUTES[method].fullmatch(path):
            await self.inside(scope, receive, send)
        else:
            await _answer(send, 404, f"`make ui` has no {method} {path}: it shows runs, models and data sets only")

    def fits(self, given: list[str]) -> bool:
        """Exactly one was given, and it is the token."""
        return len(given) == 1 and hmac.compare_digest(given[0].encode(), self.place.token.encode())

    def from_here(self, headers: list[tuple[str, str]], start: bool) -> bool:
        """Asked by a name that this server has, and not by a page of another one, on another port of this machine, say.

        A link on another page may lead to the start: what that page cannot read, and cannot do anything with.
        """
        hosts, origins, sites = ([value for name, value in headers if name == given] for given in _ASKED_BY)
        return (
            len(hosts) == 1
            and hosts[0] in self.hosts
            and all(origin == f"http://{hosts[0]}" for origin in origins)
            and (start or all(site in ("same-origin", "none") for site in sites))
        )


_ASKED_BY = ("host", "origin", "sec-fetch-site")


def _cookies(headers: list[tuple[str, str]], wanted: str) -> list[str]:
    pairs = (pair.strip().partition("=") for name, value in headers if name == "cookie" for pair in value.split(";"))
    return [value for name, _, value in pairs if name == wanted]


async def _answer(send: Send, status: int, body: str | bytes, kind: str = "text/plain", **headers: str) -> None:
    content = body if isinstance(body, bytes) else body.encode()
    given = {
        **{"content-type": kind, "content-length": str(len(content)), "cache-control": "no-store"},
        **{"referrer-policy": "no-referrer", "x-content-type-options": "nosniff", "x-frame-options": "DENY"},
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in given.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": content})


def page(static: Path) -> bytes:
    """MLflow's only page, without what greets a newcomer there."""
    before, head, after = (static / "index.html").read_text(encoding="utf-8").partition("<head>")
    return f"{before}{head}{GREETING}{after}".encode()


def main() -> None:
    place = Place(**json.load(sys.stdin))
    listening = socket.socket(fileno=place.file)
    inside, static = application(place.uri, place.artifacts)
    import uvicorn

    # What it would log of each request includes the token.
    config = uvicorn.Config(Door(place, page(static), inside), access_log=False, timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
