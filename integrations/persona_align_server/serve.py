"""Running the application with uvicorn."""

import uvicorn
from fastapi import FastAPI

__all__ = ["server"]


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
