"""A real server on a free port of this machine, in a thread."""

import threading
import time
from contextlib import contextmanager

from persona_align_server.serve import server


@contextmanager
def served(app):
    running = server(app, port=0, log_level="warning", loop="asyncio")
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join(timeout=30)
