"""`make ui`: the view that its link opens, and the plain link where the view cannot be kept. tests/browser sees it."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from retrace.cli import ui

PLAIN = "http://127.0.0.1:5000/?token=secret#/experiments/1/runs?workflowType=machine_learning"


def columns(*params: dict[str, str]) -> list[str]:
    shown = ui.view(list(params))["selectedColumns"]
    assert shown[: len(ui.METRICS)] == [f"metrics.`{key}`" for key in ui.METRICS]
    return [column.removeprefix("params.`").removesuffix("`") for column in shown[len(ui.METRICS) :]]


def test_the_view_shows_the_parameters_that_differ():
    assert columns() == []
    assert columns({"a": "1"}) == []
    assert columns({"a": "1", "b": "1"}, {"a": "1", "b": "2"}) == ["b"]
    assert columns({"a": "1", "b": "1"}, {"a": "1"}) == ["b"], "a parameter that only one of them has"


def test_the_view_keeps_those_that_vary_most():
    runs = [{f"key.{index:02}": str(run % (index + 1)) for index in range(20)} for run in range(20)]
    assert columns(*runs) == [f"key.{index:02}" for index in range(20 - ui.MOST_PARAMS, 20)]


def test_every_column_of_the_view_has_a_place_and_a_width():
    view = ui.view([{"a": "1"}, {"a": "2"}])
    assert view["columnOrder"][-len(view["selectedColumns"]) :] == view["selectedColumns"]
    assert set(view["columnWidths"]) == set(view["columnOrder"])


@pytest.mark.parametrize(
    ("status", "answer"),
    [(500, b"{}"), (200, b"not JSON"), (200, b"[]"), (200, b'{"runs": [{}]}')],
)
def test_without_a_view_the_link_is_the_plain_one(status, answer):
    class Odd(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Odd) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        assert ui.share_view(base, {}, "1") is False
        server.shutdown()
    assert ui.share_view(base, {}, "1") is False, "nobody listens there any more"
    assert ui.link("http://127.0.0.1:5000", "secret", "1", False) == PLAIN
    assert ui.link("http://127.0.0.1:5000", "secret", "1", True) == f"{PLAIN}&viewStateShareKey={ui.VIEW}"
