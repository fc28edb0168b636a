"""Tools with which an agent may remember, tell and forget, each on the user's own word."""

import json
from collections.abc import Sequence
from typing import Any

from langchain.tools import ToolRuntime
from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, tool

from persona_align.aligner import PersonaAligner
from persona_align.records import Description
from persona_align_agents.user import thread_of, user_of

__all__ = ["erased", "persona_tools"]

_CONFIRMATION = "forget me"


def persona_tools(aligner: PersonaAligner) -> list[BaseTool]:
    """Three tools: remember_preference, what_do_you_know_about_me and forget_me.

    An agent's own words never move a vector: what it remembers must stand in what the user wrote, and it forgets only
    when the user's last message says "forget me".
    """

    @tool
    def remember_preference(quote: str, runtime: ToolRuntime[Any, Any]) -> str:
        """Remember a lasting preference of the user. `quote` must be the user's own words, copied exactly."""
        user_id = user_of(runtime)
        said = " ".join(quote.split())
        if not said or not any(said in " ".join(text.split()) for text in _human_texts(runtime)):
            return "Not remembered: these are not the user's own words. Quote a sentence of theirs exactly."
        aligner.record(user_id, Description(text=said, thread_id=thread_of(runtime)))
        return f'Remembered: "{said}"'

    @tool
    def what_do_you_know_about_me(runtime: ToolRuntime[Any, Any]) -> str:
        """Tell what is known of the user's preferences, each with the sentence that it rests on."""
        user_id = user_of(runtime)
        known = []
        for reading in aligner.preferences(user_id).confident()[:10]:
            evidence = [each.record.texts[0] for each in aligner.explain(user_id, reading.key)[:1] if each.record.texts]
            known.append(
                {
                    "preference": reading.pole,
                    "value": round(reading.value, 2),
                    "confidence": round(reading.confidence, 2),
                    "because": evidence[0] if evidence else "set by hand",
                }
            )
        return json.dumps(known, ensure_ascii=False) if known else "Nothing is known of this user yet."

    @tool(response_format="content_and_artifact")
    def forget_me(runtime: ToolRuntime[Any, Any]) -> tuple[str, dict[str, Any] | None]:
        """Erase everything known of the user. Works only when the user's last message says "forget me"."""
        user_id = user_of(runtime)
        texts = _human_texts(runtime)
        if not texts or _CONFIRMATION not in texts[-1].lower():
            return f'Nothing was erased. Ask the user to confirm by writing "{_CONFIRMATION}".', None
        receipt = aligner.forget(user_id)
        return f"Everything was erased. {receipt}", receipt.to_json()

    return [remember_preference, what_do_you_know_about_me, forget_me]


def erased(messages: Sequence[BaseMessage]) -> bool:
    """Whether the user was forgotten since they last spoke."""
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            return False
        if isinstance(message, ToolMessage) and message.name == "forget_me" and message.artifact is not None:
            return True
    return False


def _human_texts(runtime: ToolRuntime[Any, Any]) -> list[str]:
    return [str(message.text) for message in runtime.state["messages"] if isinstance(message, HumanMessage)]
