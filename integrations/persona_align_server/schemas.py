"""What requests and responses look like."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "ChatRequest",
    "Comparing",
    "Correcting",
    "EvidenceOut",
    "Forgetting",
    "ModelList",
    "Persona",
    "Preferences",
    "Problem",
    "ReadingOut",
    "Thumb",
]

Text = Annotated[str, Field(min_length=1, max_length=200_000)]


class ProblemBody(BaseModel):
    """What went wrong and what to do."""

    message: str
    type: str
    code: int


class Problem(BaseModel):
    """An error, in the form of OpenAI's API."""

    error: ProblemBody


class Persona(BaseModel):
    """How a reply is aligned; beyond OpenAI's API."""

    model_config = ConfigDict(extra="forbid")
    mode: Literal["auto", "ica", "pba", "pas", "rerank", "off"] | None = None
    thread_id: str | None = Field(default=None, max_length=500)
    record: bool = True


class ChatMessage(BaseModel):
    """One message, in the form of OpenAI's API."""

    model_config = ConfigDict(extra="allow")
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None


class Function(BaseModel):
    """A function that the model may call."""

    model_config = ConfigDict(extra="allow")
    name: Annotated[str, Field(min_length=1, max_length=200)]


class Tool(BaseModel):
    """A tool on offer, or the one that was chosen."""

    model_config = ConfigDict(extra="allow")
    type: Literal["function"]
    function: Function


class ResponseFormat(BaseModel):
    """The form of the reply."""

    model_config = ConfigDict(extra="allow")
    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _has_schema(self) -> Self:
        if self.type == "json_schema" and not isinstance((self.json_schema or {}).get("schema"), dict):
            raise ValueError("json_schema.schema is missing")
        return self


class StreamOptions(BaseModel):
    """Of a stream."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """A request for a reply, in the form of OpenAI's API; `user` names the person, `persona` is our own."""

    model_config = ConfigDict(extra="allow")
    model: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=2_000)]
    user: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] = 1
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=100_000)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=100_000)] | None = None
    stop: Text | Annotated[list[Text], Field(max_length=4)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None
    tools: Annotated[list[Tool], Field(max_length=500)] | None = None
    tool_choice: Literal["none", "auto", "required"] | Tool | None = None
    response_format: ResponseFormat | None = None
    persona: Persona = Persona()

    @model_validator(mode="after")
    def _chosen_tool_exists(self) -> Self:
        named = {tool.function.name for tool in self.tools or ()}
        if isinstance(self.tool_choice, Tool) and self.tool_choice.function.name not in named:
            raise ValueError(f"tool_choice names {self.tool_choice.function.name!r}, which is none of the tools")
        return self


class ModelEntry(BaseModel):
    """One model."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "persona-align"


class ModelList(BaseModel):
    """The models that can be asked for."""

    object: Literal["list"] = "list"
    data: list[ModelEntry]


class ReadingOut(BaseModel):
    """One dimension of a person's vector."""

    key: str
    family: str
    pole: str
    high: str
    low: str
    value: float
    confidence: float
    support: float
    locked: bool


class Preferences(BaseModel):
    """What is known of a person, strongest first."""

    user_id: str
    floor: float
    readings: list[ReadingOut]


class EvidenceOut(BaseModel):
    """A record that moved a dimension."""

    record_id: str
    kind: str
    texts: list[str]
    at: datetime | None
    weight: float


class Correcting(BaseModel):
    """A dimension set by hand; without a value it is given back to inference."""

    model_config = ConfigDict(extra="forbid")
    dimension: Text
    value: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] | None = None


class Comparing(BaseModel):
    """Of two replies to one prompt, the one that the person preferred."""

    model_config = ConfigDict(extra="forbid")
    prompt: Annotated[str, Field(max_length=200_000)]
    chosen: Text
    rejected: Text


class Thumb(BaseModel):
    """A thumb on one of two replies to a prompt: a comparison with the other one."""

    model_config = ConfigDict(extra="forbid")
    prompt: Annotated[str, Field(max_length=200_000)]
    reply: Text
    up: bool
    other: Text


class Forgetting(BaseModel):
    """What is erased: everything, or what is older than a time, or single records."""

    model_config = ConfigDict(extra="forbid")
    before: datetime | None = None
    record_ids: Annotated[list[Text], Field(max_length=10_000)] | None = None
