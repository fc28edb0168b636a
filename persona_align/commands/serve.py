"""`persona-align serve`: an OpenAI-compatible server that is personal for every user, with its page."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_align.commands.console import note
from persona_align.commands.opening import chat_model, opened
from persona_align.commands.options import DEFAULT_STORE, Encoder, Mode, Model, Store, Strength
from persona_align.errors import PersonaAlignError

if TYPE_CHECKING:
    from persona_align_server import Keys

__all__ = ["serve"]

_OWN_MACHINE = ("127.0.0.1", "localhost", "::1")


def serve(
    model: Model = None,
    upstream: Annotated[
        str | None,
        typer.Option(
            "--upstream",
            metavar="URL",
            help="Serve in front of an OpenAI-compatible server, for instance http://127.0.0.1:11434/v1, instead of "
            "a local model. --model then names its model; its key is read from OPENAI_API_KEY.",
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys",
            metavar="FILE",
            help='Who may ask: a JSON file of API key to user, {"key-of-ada": "ada", "key-of-my-app": "*"}; "*" may '
            "act for any user. Without it anyone may act for anyone, so only this machine is served.",
        ),
    ] = None,
    mode: Annotated[Mode, typer.Option("--mode", help="How replies are aligned, unless a request says.")] = "auto",
    strength: Strength = 1.0,
    host: Annotated[str, typer.Option("--host", help="The address to listen on; 0.0.0.0 is all of them.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="The longest reply of a local model.")] = 256,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, help="Seconds without a word of the model until a request fails.")
    ] = 120.0,
    store: Store = DEFAULT_STORE,
    encoder: Encoder = None,
) -> None:
    """Serve an OpenAI-compatible API in which every user gets replies of their own, and a page to see and correct.

    Point any OpenAI client at http://HOST:PORT/v1 and set `user`. The page is at http://HOST:PORT/, the description
    of the API at /docs. Ctrl-C finishes the replies under way, then stops.

    Example: persona-align serve --keys keys.json

    Example: persona-align serve --upstream http://127.0.0.1:11434/v1 --model llama3.2
    """
    from persona_align_server import Keys, create_app
    from persona_align_server.serve import server

    known = None if keys is None else Keys.from_file(keys)
    if known is None and host not in _OWN_MACHINE:
        raise PersonaAlignError(
            f"Without keys, whoever reaches {host} could read and erase what is known of everyone.",
            "Name who may ask with --keys FILE, or leave out --host to serve this machine only.",
        )
    chat = chat_model(model, max_tokens=max_tokens) if upstream is None else _upstream(upstream, model, timeout)
    name = model or ("bundled" if upstream is None else None)
    with opened(store, encoder, new=True) as aligner:
        app = create_app(aligner, chat, mode=mode, keys=known, model_name=name, timeout=timeout, strength=strength)
        note(_greeting(host, port, known))
        server(app, host=host, port=port).run()


def _upstream(url: str, model: str | None, timeout: float) -> Any:
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    if model is None:
        raise PersonaAlignError("An upstream has many models.", f"Name one of {url}/models with --model NAME.")
    key = SecretStr(os.environ.get("OPENAI_API_KEY") or "none")
    return ChatOpenAI(base_url=url, model=model, api_key=key, timeout=timeout, max_retries=1)


def _greeting(host: str, port: int, keys: "Keys | None") -> str:
    at = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port or 'PORT'}"
    who = "anyone on this machine may act for anyone" if keys is None else f"{len(keys)} keys"
    return f"The page is at {at}/ and the API at {at}/v1 ({who}). Ctrl-C stops."
