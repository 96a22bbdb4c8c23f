"""Google Cloud on this machine: fake-gcs-server, and before it a server with the API of Dataflow and access tokens."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from hir_transforms.artifacts.runs import RUNS
from tests.helpers.ports import free_port

TOOL = "fake-gcs-server"
TOOLS = Path(__file__).parents[2] / ".tools" / "bin"


def find_emulator() -> str | None:
    """The emulator's path, from `make tools` or anywhere else."""
    return shutil.which(TOOL, path=os.pathsep.join([str(TOOLS), os.environ.get("PATH", "")]))


class GoogleCloud:
    """The fake: what was asked for, and access to the stored objects.

    Attributes:
        address: of the server, for `--dataflow_endpoint` and `STORAGE_EMULATOR_HOST`.
        jobs: the bodies of all requests to create a job.
        authorizations: the headers of the same name that came with them.
        metrics_asked: how often the metrics of a job were asked for; the answer is an error.
    """

    def __init__(self, address: str, emulator: str) -> None:
        self.address = address
        self.emulator = emulator
        self.jobs: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []
        self.metrics_asked = 0

    def make_bucket(self, name: str) -> None:
        self._ask("POST", "/storage/v1/b?project=project", json.dumps({"name": name}).encode(), "application/json")

    def put(self, bucket: str, name: str, content: bytes) -> None:
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
        self._ask("POST", path, content, "application/octet-stream")

    def contents(self, bucket: str, folder: str) -> dict[str, bytes]:
        """Content by name below a folder of a bucket, but for what tells how long runs took."""
        listing = json.loads(self._ask("GET", f"/storage/v1/b/{bucket}/o?prefix={quote(folder, safe='')}/"))
        names = [found["name"] for found in listing.get("items", []) if not found["name"].endswith(RUNS)]
        return {
            name[len(folder) + 1 :]: self._ask("GET", f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media")
            for name in names
        }

    def _ask(self, method: str, path: str, content: bytes | None = None, kind: str = "") -> bytes:
        request = urllib.request.Request(f"{self.emulator}{path}", content, {"Content-Type": kind}, method=method)
        with urllib.request.urlopen(request) as answer:
            return answer.read()


def _handler(cloud: GoogleCloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path == "/token":
                token = {"access_token": "token", "expires_in": 3600, "token_type": "Bearer"}
                self._answer(200, {"Content-Type": "application/json"}, json.dumps(token).encode())
            elif re.match(r"/v1b3/projects/[^/]+/locations/[^/]+/jobs/[^/]+/metrics", self.path):
                cloud.metrics_asked += 1
                self._answer(404, {"Content-Type": "application/json"}, b"{}")
            elif re.match(r"/v1b3/projects/[^/]+/locations/[^/]+/jobs", self.path):
                cloud.jobs.append(json.loads(body))
                cloud.authorizations.append(self.headers.get("Authorization"))
                job = {"id": "job-1", "name": cloud.jobs[-1]["name"], "currentState": "JOB_STATE_DONE"}
                self._answer(200, {"Content-Type": "application/json"}, json.dumps(job).encode())
            else:
                self._forward(body)

        def _forward(self, body: bytes) -> None:
            if self.path.startswith("/batch/"):
                # Google answers each part of a batch; the emulator, only those with an id, which its client omits.
                parts = iter(range(1 << 30))
                body = re.sub(
                    rb"Content-Type: application/http\r?\n",
                    lambda found: found[0] + b"Content-ID: <%d>\n" % next(parts),
                    body,
                )
            headers = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
            request = urllib.request.Request(
                f"{cloud.emulator}{self.path}", body or None, headers, method=self.command
            )
            try:
                with urllib.request.urlopen(request) as answer:
                    self._answer(answer.status, dict(answer.headers), answer.read())
            except urllib.error.HTTPError as error:
                self._answer(error.code, dict(error.headers), error.read())

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _handle  # noqa: N815

    return Handler


@contextlib.contextmanager
def google_cloud(folder: Path) -> Iterator[GoogleCloud]:
    """The running fake, with the environment variables that lead Google's libraries to it; keys go into `folder`."""
    program = find_emulator()
    assert program is not None
    port, emulator_port = free_port(), free_port()
    cloud = GoogleCloud(f"http://localhost:{port}", f"http://127.0.0.1:{emulator_port}")
    command = [program, "-scheme=http", "-host=127.0.0.1", f"-port={emulator_port}", "-backend=memory"]
    emulator = subprocess.Popen(
        [*command, f"-public-host=localhost:{port}", f"-external-url={cloud.address}", "-log-level=error"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = ThreadingHTTPServer(("localhost", port), _handler(cloud))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    variables = {
        "STORAGE_EMULATOR_HOST": cloud.address,
        "GOOGLE_APPLICATION_CREDENTIALS": str(_service_account(folder, cloud.address)),
        "GOOGLE_CLOUD_PROJECT": "project",
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        _wait_for(f"{cloud.emulator}/storage/v1/b")
        yield cloud
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        server.shutdown()
        server.server_close()
        emulator.terminate()
        emulator.wait()


def _service_account(folder: Path, address: str) -> Path:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "1",
        "private_key": pem,
        "client_email": "tests@project.iam.gserviceaccount.com",
        "token_uri": f"{address}/token",
    }
    path = folder / "service_account.json"
    path.write_text(json.dumps(account))
    return path


def _wait_for(url: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(url).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(url)
