"""The three places a memory can be, and a Chroma server of the tests' own."""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from persona_align.memory.store import Memory
from tests.memory.entries import MADE_WITH


class ChromaServer:
    """A `chroma run` of its own, that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> "ChromaServer":
        beside = Path(sys.executable).with_name("chroma")
        command = str(beside) if beside.exists() else shutil.which("chroma")
        if command is None:
            pytest.skip("the chroma command is not installed")
        log = (self.folder.parent / f"{self.folder.name}.log").open("ab")
        self.process = subprocess.Popen(
            [command, "run", "--path", str(self.folder), "--host", "127.0.0.1", "--port", str(self.port)],
            stdout=log,
            stderr=log,
        )
        log.close()
        for _ in range(300):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{self.url}/api/v2/heartbeat", timeout=1).close()
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        self.stop()
        pytest.skip("chroma run did not start on 127.0.0.1")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def chroma_server(tmp_path_factory):
    server = ChromaServer(tmp_path_factory.mktemp("chroma") / "data").start()
    yield server
    server.stop()


@pytest.fixture
def own_server(tmp_path):
    server = ChromaServer(tmp_path / "data").start()
    yield server
    server.stop()


@pytest.fixture(params=["folder", "private", "server"])
def anywhere(request, tmp_path):
    """Where a memory can be: a folder, nowhere, a server."""
    if request.param == "folder":
        return tmp_path / "memory"
    if request.param == "private":
        return None
    return request.getfixturevalue("chroma_server").url


@pytest.fixture
def open_memory(anywhere):
    """A function that opens a memory there."""
    return lambda **more: Memory.open(anywhere, **{**MADE_WITH, **more})


@pytest.fixture
def user(request):
    """A prefix that keeps the users of one test apart from those of another on the shared server."""
    return f"{request.node.name}/"
