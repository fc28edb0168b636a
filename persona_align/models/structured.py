"""Structured output: a schema in the prompt, and its object out of the reply."""

from operator import itemgetter
from typing import Any, Literal, get_args

from langchain_core.language_models import LanguageModelInput
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel

__all__ = ["Method", "structured"]

Method = Literal["json_schema", "json_mode", "function_calling"]


def structured(
    chat: Any, schema: dict[str, Any] | type, *, method: str, include_raw: bool
) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
    """A runnable that replies with an object of `schema`.

    Args:
        chat: The chat model.
        schema: A pydantic class, a TypedDict, a JSON schema or a tool in OpenAI's format.
        method: "json_schema" shows the schema to the model; "json_mode" only asks for JSON.
        include_raw: Give a dict of `raw`, `parsed` and `parsing_error` instead of the object, and raise nothing.

    Raises:
        ValueError: An unknown method.
    """
    if method not in get_args(Method):
        msg = f"method must be one of {', '.join(get_args(Method))}, not {method!r}"
        raise ValueError(msg)
    written = convert_to_json_schema(schema)
    wanted: dict[str, Any] = {"type": "json_object"}
    if method == "json_schema":
        wanted = {"type": "json_schema", "json_schema": {"name": written.get("title", "reply"), "schema": written}}
    llm = chat.bind(
        response_format=wanted, ls_structured_output_format={"kwargs": {"method": method}, "schema": schema}
    )
    parser = (
        PydanticOutputParser(pydantic_object=schema)
        if isinstance(schema, type) and is_basemodel_subclass(schema)
        else JsonOutputParser()
    )
    if not include_raw:
        reply: Runnable[LanguageModelInput, dict[str, Any] | BaseModel] = llm | parser
        return reply
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    unparsed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=llm) | parsed.with_fallbacks([unparsed], exception_key="parsing_error")
