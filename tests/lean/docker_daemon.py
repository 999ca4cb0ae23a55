"""A stand-in for the Docker daemon: it answers on a unix socket what the lean CLI asks, runs nothing, keeps the order.

The containers "run" and "exit with 0" at once. What a container would have found in its bind mounts is read while it is
being created, as the lean CLI deletes its temporary files at the end.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

IMAGE = {
    "Id": "sha256:" + "0" * 64,
    "RepoTags": ["quantconnect/lean:latest", "quantconnect/research:latest"],
    "RepoDigests": [],
    "Config": {"Labels": {"python_version": "3.11", "target_framework": "net9.0"}},
}


@dataclass(frozen=True)
class Container:
    """What the lean CLI asked the daemon to create."""

    name: str
    request: dict[str, Any]
    files: dict[str, str]
    """Path in the container -> text, of each single file that is mounted."""

    @property
    def mounts(self) -> dict[str, str]:
        """Path in the container -> folder or file on this machine."""
        binds = [bind.rsplit(":", 2) for bind in self.request["HostConfig"].get("Binds") or []]
        found = {target: source for source, target, _ in binds}
        return found | {m["Target"]: m["Source"] for m in self.request["HostConfig"].get("Mounts") or []}

    @property
    def environment(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for pair in self.request.get("Env") or [])


class DockerDaemon(ThreadingUnixStreamServer):
    """Listens from the moment it is made."""

    daemon_threads = True

    def __init__(self, socket: Path):
        super().__init__(str(socket), _Handler)
        self.host = f"unix://{socket}"
        self.containers: list[Container] = []


@contextmanager
def docker_daemon(socket: Path) -> Iterator[DockerDaemon]:
    with DockerDaemon(socket) as daemon:
        thread = threading.Thread(target=daemon.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield daemon
        finally:
            daemon.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: DockerDaemon
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        path = self._path()
        if path == "/_ping":
            self._answer(200, "OK")
        elif path == "/version":
            self._answer(200, {"ApiVersion": "1.43", "Version": "24.0.0"})
        elif path == "/images/json":
            self._answer(200, [IMAGE])
        elif path.startswith("/images/"):
            self._answer(200, IMAGE)
        elif path in ("/networks", "/containers/json"):
            self._answer(200, [])
        elif found := re.fullmatch(r"/containers/(\d+)/json", path):
            name = self.server.containers[int(found[1])].name
            state = {"Status": "exited", "Running": False, "ExitCode": 0}
            self._answer(200, {"Id": found[1], "Name": f"/{name}", "State": state})
        elif path.startswith("/networks/"):
            self._answer(200, {"Id": "network", "Name": "lean_cli"})
        else:
            self._answer(404, {"message": f"the stand-in knows no GET {path}"})

    def do_POST(self) -> None:
        path = self._path()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path == "/networks/create":
            self._answer(201, {"Id": "network"})
        elif path == "/containers/create":
            request = json.loads(body)
            (name,) = parse_qs(urlsplit(self.path).query).get("name", [""])
            files = {
                mount["Target"]: Path(mount["Source"]).read_text(encoding="utf-8")
                for mount in request["HostConfig"].get("Mounts") or []
                if Path(mount["Source"]).is_file()
            }
            self.server.containers.append(Container(name, request, files))
            self._answer(201, {"Id": str(len(self.server.containers) - 1), "Warnings": []})
        elif path.endswith("/start"):
            # Every run of LEAN leaves its log, and `lean optimize` reads it.
            results = self.server.containers[-1].mounts.get("/Results")
            if results:
                (Path(results) / "log.txt").touch()
            self._answer(204, None)
        elif path.endswith("/wait"):
            self._answer(200, {"StatusCode": 0})
        else:
            self._answer(404, {"message": f"the stand-in knows no POST {path}"})

    def do_DELETE(self) -> None:
        self._answer(204, None)

    def _path(self) -> str:
        """Without the API's version in front."""
        return re.sub(r"^/v\d\.\d+", "", urlsplit(self.path).path)

    def _answer(self, status: int, content: object) -> None:
        body = b"" if content is None else (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(content, str) else "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
