"""An OpenAI-compatible server that is personal for every user, and a page to see and correct what is known."""

from persona_align.errors import MissingExtraError

try:
    from persona_align_server.app import create_app
    from persona_align_server.keys import Keys
except ModuleNotFoundError as error:
    raise MissingExtraError(
        f"persona_align_server needs {error.name}, which is not installed.",
        "Install it with `pip install 'persona-align[server]'`.",
    ) from error

__all__ = ["Keys", "create_app"]
