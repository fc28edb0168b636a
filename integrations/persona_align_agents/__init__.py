"""persona-align in LangChain agents and LangGraph graphs."""

from persona_align_agents.middleware import PersonaMiddleware
from persona_align_agents.node import persona_node
from persona_align_agents.retriever import PersonaRetriever
from persona_align_agents.tools import persona_tools
from persona_align_agents.user import user_of

__all__ = ["PersonaMiddleware", "PersonaRetriever", "persona_node", "persona_tools", "user_of"]
