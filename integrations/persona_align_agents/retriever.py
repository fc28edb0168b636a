"""What a user said that matters for a query, as a LangChain retriever."""

from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, run_in_executor
from pydantic import ConfigDict, Field

from persona_align.aligner import PersonaAligner
from persona_align.conditioning import ica_line
from persona_align.errors import MissingUserError, require_user
from persona_align.memory import Retrieved

__all__ = ["PersonaRetriever"]


class PersonaRetriever(BaseRetriever):
    """The user-authored records that matter for a query, best first.

    The user is the field `user_id`, or `configurable["user_id"]` of the call where the field is not set; nobody is ever
    taken by default.

    Args:
        aligner: Where the records are.
        user_id: Whose records; None leaves it to the config of each call.
        k: How many at most; a call may name another number: `retriever.invoke(query, k=3)`.

    Raises:
        MissingUserError: Neither the field nor the config names a user.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    aligner: PersonaAligner = Field(exclude=True, repr=False)
    user_id: str | None = None
    k: int = Field(default=5, ge=1)

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        """The documents for a query; see the class for who the user is."""
        return super().invoke(input, config, **self._told(config, kwargs))

    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        """The same in a worker thread."""
        return await super().ainvoke(input, config, **self._told(config, kwargs))

    def _told(self, config: RunnableConfig | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        named = self.user_id or (ensure_config(config).get("configurable") or {}).get("user_id")
        try:
            return {**kwargs, "user_id": require_user(named)}
        except MissingUserError as error:
            raise MissingUserError(
                error.message,
                'Set PersonaRetriever(user_id=…), or invoke it with config={"configurable": {"user_id": "ada"}}.',
            ) from None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, user_id: str = "", k: int | None = None
    ) -> list[Document]:
        del run_manager  # LangChain passes it by name
        found = self.aligner.retrieve(require_user(user_id or self.user_id), query, k or self.k)
        return [_document(each) for each in found]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, user_id: str = "", k: int | None = None
    ) -> list[Document]:
        told = run_manager.get_sync()
        return await run_in_executor(None, self._get_relevant_documents, query, run_manager=told, user_id=user_id, k=k)


def _document(found: Retrieved) -> Document:
    record = found.record
    metadata = {
        "kind": record.kind,
        "at": record.at.isoformat() if record.at else None,
        "thread_id": record.thread_id,
        "score": found.score,
    }
    text = record.texts[0] if len(record.texts) == 1 else ica_line(record)
    return Document(id=record.id, page_content=text, metadata=metadata)
