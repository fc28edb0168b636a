"""persona-align in LangChain agents and LangGraph graphs."""

from persona_align.errors import MissingExtraError

try:
    from persona_align_agents.middleware import PersonaMiddleware
    from persona_align_agents.node import persona_node
    from persona_align_agents.retriever import PersonaRetriever
    from persona_align_agents.tools import persona_tools
    from persona_align_agents.user import user_of
except ModuleNotFoundError as error:
    raise MissingExtraError(
        f"persona_align_agents needs {error.name}, which is not installed.",
        "Install it with `pip install 'persona-align[agents]'`.",
    ) from error

__all__ = ["PersonaMiddleware", "PersonaRetriever", "persona_node", "persona_tools", "user_of"]
