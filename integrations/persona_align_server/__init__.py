"""An OpenAI-compatible server that is personal for every user, and a page to see and correct what is known."""

from persona_align_server.app import create_app
from persona_align_server.keys import Keys

__all__ = ["Keys", "create_app"]
