"""Running the application with uvicorn."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

__all__ = ["running", "server"]


def server(
    app: FastAPI, *, host: str = "127.0.0.1", port: int = 8000, log_level: str = "info", loop: str = "auto"
) -> uvicorn.Server:
    """A server that is ready to `run()`; it finishes the replies under way before it stops.

    Args:
        app: What `create_app` gave.
        host: The address to listen on; the default is reached from this machine only.
        port: 0 takes a free one.
        log_level: Of uvicorn.
        loop: The event loop: "auto", "asyncio" or "uvloop".
    """
    config = uvicorn.Config(
        app, host=host, port=port, log_level=log_level, timeout_graceful_shutdown=30, limit_concurrency=1_200, loop=loop
    )
    return uvicorn.Server(config)


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """The address of the application on a free port of this machine, served from a thread: for notebooks and tests.

    Raises:
        RuntimeError: It could not start.
    """
    served = server(app, port=0, log_level="warning", loop="asyncio")
    thread = threading.Thread(target=served.run, daemon=True)
    thread.start()
    while not served.started:
        if not thread.is_alive():
            msg = "the server could not start; its log says why"
            raise RuntimeError(msg)
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{served.servers[0].sockets[0].getsockname()[1]}"
    finally:
        served.should_exit = True
        thread.join(timeout=60)
