"""A node for plain LangGraph graphs: the aligned reply to the messages of the state."""

from collections.abc import Callable
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from persona_align.aligner import PersonaAligner
from persona_align_agents.user import thread_of, user_of

__all__ = ["persona_node"]


def persona_node(aligner: PersonaAligner, model: Any, mode: str = "auto", **settings: Any) -> Callable[..., Any]:
    """A node that answers `state["messages"]` for the user named in the run's context.

    Args:
        aligner: What is known of users.
        model: The model to align; see `PersonaAligner.wrap`, which also takes the mode and the settings.
        mode: The alignment mode.
        settings: As for `PersonaAligner.wrap`.

    Returns:
        A function of state and runtime, for `graph.add_node("reply", persona_node(…))`.
    """
    aligned = aligner.wrap(model, mode, **settings)

    def reply(state: Any, runtime: Runtime[Any]) -> dict[str, Any]:
        config: RunnableConfig = {"configurable": {"user_id": user_of(runtime), "thread_id": thread_of(runtime)}}
        return {"messages": [aligned.invoke(list(state["messages"]), config)]}

    return reply
