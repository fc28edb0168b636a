"""The application: its routes, its limits and how errors are told."""

from collections.abc import Callable
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from persona_align import __version__
from persona_align.aligner import PersonaAligner
from persona_align.errors import (
    InvalidRecordError,
    MissingUserError,
    PersonaAlignError,
    QueueFullError,
    StoreUnavailableError,
    UnknownDimensionError,
    UnsupportedModeError,
)
from persona_align_server import chat, people
from persona_align_server.keys import ForbiddenUserError, Keys, UnknownKeyError
from persona_align_server.limits import BodyLimit
from persona_align_server.schemas import Problem

__all__ = ["create_app"]

_STATUS: list[tuple[type[PersonaAlignError], int]] = [
    (UnknownKeyError, 401),
    (ForbiddenUserError, 403),
    (UnknownDimensionError, 404),
    (MissingUserError, 400),
    (InvalidRecordError, 400),
    (UnsupportedModeError, 400),
    (QueueFullError, 503),
    (StoreUnavailableError, 503),
]
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def create_app(
    aligner: PersonaAligner,
    model: Any,
    *,
    mode: str = "auto",
    keys: Keys | None = None,
    model_name: str | None = None,
    max_body: int = 2_000_000,
    timeout: float | None = 120.0,
    **settings: Any,
) -> FastAPI:
    """An OpenAI-compatible application around a model.

    Args:
        aligner: What is known of users; the caller closes it.
        model: A ChatTransformers (all modes) or any LangChain chat model, for example one of an upstream server.
        mode: The mode of a request that names none.
        keys: API keys; None lets anyone act for anyone, for use on one's own machine.
        model_name: What `/v1/models` names; by default the model's own name.
        max_body: The largest request body, in bytes.
        timeout: Seconds without a word of the model until a request fails; None waits for ever.
        settings: basis, strength, k, max_prompt_tokens, template, candidates and seed of `PersonaAligner.wrap`.

    Example:
        >>> from persona_align import PersonaAligner
        >>> from persona_align.testing import EchoChat, HashEncoder
        >>> app = create_app(PersonaAligner.open(encoder=HashEncoder()), EchoChat())
        >>> app.title
        'persona-align'
    """
    problems: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem} for status in (400, 401, 403, 404, 413, 422, 502, 503, 504)
    }
    app = FastAPI(title="persona-align", version=__version__, responses=problems)
    app.state.aligner = aligner
    app.state.keys = keys
    app.state.service = chat.Service(aligner, model, mode, model_name, timeout, settings)
    app.add_middleware(BodyLimit, most=max_body)
    app.include_router(chat.router)
    app.include_router(people.router)
    app.add_exception_handler(PersonaAlignError, _told)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _refused)
    app.get("/health", tags=["server"])(_health)
    app.get("/", include_in_schema=False)(_page)
    for name, kind in (("page.js", "text/javascript"), ("page.css", "text/css")):
        app.get(f"/{name}", include_in_schema=False)(_asset(name, kind))
    return app


def _health() -> dict[str, str]:
    """Whether the server answers."""
    return {"status": "ok", "version": __version__}


def _page() -> HTMLResponse:
    return HTMLResponse(_read("page.html"), headers={"Content-Security-Policy": _POLICY})


def _asset(name: str, kind: str) -> Callable[[], HTMLResponse]:
    def asset() -> HTMLResponse:
        return HTMLResponse(_read(name), media_type=kind, headers={"X-Content-Type-Options": "nosniff"})

    return asset


def _read(name: str) -> str:
    return files("persona_align_server").joinpath(name).read_text(encoding="utf-8")


async def _told(_: Request, error: Exception) -> JSONResponse:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    return problem(status, str(error), type(error).__name__)


async def _malformed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(step) for step in first["loc"])
    return problem(422, f"{where}: {first['msg']}", "invalid_request_error")


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # of the framework: no such path or method, a body that is no text
    return problem(error.status_code, str(error.detail), "invalid_request_error")


def problem(status: int, message: str, kind: str) -> JSONResponse:
    """An error as OpenAI's clients expect it."""
    return JSONResponse({"error": {"message": message, "type": kind, "code": status}}, status_code=status)
