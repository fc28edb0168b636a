"""The largest body that a request may have."""

import json
from contextlib import suppress
from typing import Any

__all__ = ["BodyLimit"]

Scope = dict[str, Any]


class _TooLargeError(Exception):
    pass


class BodyLimit:
    """Refuses a body that is larger than `most` bytes, announced or not, before it is all read."""

    def __init__(self, app: Any, most: int) -> None:
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Count what arrives."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self.most:
            await self._refuse(send)
            return
        read = 0
        began = False

        async def counted() -> Any:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.most:
                raise _TooLargeError
            return message

        async def noted(message: Any) -> None:
            nonlocal began
            if read <= self.most:  # what the application makes of a body that was cut off is of no interest
                began = True
                await send(message)

        with suppress(_TooLargeError):
            await self.app(scope, counted, noted)
        if read > self.most and not began:
            await self._refuse(send)

    async def _refuse(self, send: Any) -> None:
        message = f"The request body is larger than {self.most:,} bytes. Send less."
        body = json.dumps({"error": {"message": message, "type": "BodyTooLarge", "code": 413}}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})
