"""What a user did: turns, comparisons, descriptions, and corrections made by hand."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from persona_align.errors import InvalidRecordError

__all__ = [
    "MAX_TEXT",
    "AnyRecord",
    "Comparison",
    "Correction",
    "Description",
    "Record",
    "Summary",
    "Turn",
    "parse_record",
]

MAX_TEXT = 1_048_576
"""The longest text of one record, in UTF-8 bytes."""

_TEXT_FIELDS = frozenset({"text", "prompt", "chosen", "rejected"})


class Record(BaseModel):
    """What every record has: an identity, a time and a conversation.

    Args:
        id: Identity of the record; without one, a hash of all fields as given. The same record twice is one record.
        at: When it happened, with a time zone; kept in UTC. Without one, memory notes when it first saw the record.
        thread_id: The conversation it belongs to.

    Raises:
        InvalidRecordError: A field is missing, empty, of the wrong type or out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: str
    id: str = ""
    at: AwareDatetime | None = None
    thread_id: str | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            raise InvalidRecordError(*_reasons(cls.__name__, error)) from None

    @field_validator("*", mode="after")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        return _storable(value) if isinstance(value, str) else value

    @field_validator("at", mode="after")
    @classmethod
    def _utc(cls, value: datetime | None) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    @model_validator(mode="after")
    def _identify(self) -> Self:
        if not self.id:
            object.__setattr__(self, "id", _hash(self.model_dump(mode="json", exclude={"id"})))
        return self

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of the record, in a fixed order."""
        return ()

    @property
    def user_authored(self) -> bool:
        """Whether it is the user's own doing: only such records move a vector."""
        return True

    def dated(self, at: datetime) -> Self:
        """The same record, with the same identity, at a time."""
        return self.model_copy(update={"at": at.astimezone(UTC)})


def _filled(value: str) -> str:
    if not value.strip():
        msg = "must hold more than whitespace"
        raise ValueError(msg)
    if len(value.encode("utf-8", "surrogatepass")) > MAX_TEXT:
        msg = f"must not be longer than {MAX_TEXT:,} bytes; split it into several records"
        raise ValueError(msg)
    return value


class Turn(Record):
    """One message of a conversation; only those of role "user" move a preference vector.

    Example:
        >>> Turn(role="user", text="Short answers, please.").kind
        'turn'
    """

    kind: Literal["turn"] = "turn"
    role: Literal["user", "assistant", "system", "tool"]
    text: str

    _check = field_validator("text")(_filled)

    @property
    def texts(self) -> tuple[str, ...]:
        """The one text."""
        return (self.text,)

    @property
    def user_authored(self) -> bool:
        """Whether the user wrote it, rather than a model, a tool or a developer."""
        return self.role == "user"


class Comparison(Record):
    """Of two replies to one prompt, the one that the user preferred: chosen, edited or kept after a regeneration.

    Source: AlignX, pair-wise comparative feedback.
    """

    kind: Literal["comparison"] = "comparison"
    prompt: str
    chosen: str
    rejected: str

    _check = field_validator("chosen", "rejected")(_filled)

    @property
    def texts(self) -> tuple[str, ...]:
        """Prompt, chosen and rejected."""
        return (self.prompt, self.chosen, self.rejected)


class Description(Record):
    """A description of the user in prose, by the user or somebody who knows them.

    Source: AlignX, demographic attributes.
    """

    kind: Literal["description"] = "description"
    text: str

    _check = field_validator("text")(_filled)

    @property
    def texts(self) -> tuple[str, ...]:
        """The one text."""
        return (self.text,)


class Correction(Record):
    """A dimension set by hand (a lock), given back to inference (a release), or a consent given or withdrawn.

    Args:
        dimension: The key of the dimension, or what the consent is about.
        action: "lock", "release", "allow" or "deny".
        value: The locked value in [-1, 1]; only with "lock".
    """

    kind: Literal["correction"] = "correction"
    dimension: str
    action: Literal["lock", "release", "allow", "deny"] = "lock"
    value: Annotated[float, Field(ge=-1.0, le=1.0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.action == "lock") != (self.value is not None):
            raise InvalidRecordError(
                "Correction is not valid: a lock needs a value and nothing else takes one.",
                "Give value= with action='lock' only.",
            )
        return self


class Summary(Record):
    """What is left of records that the cap dropped: no text, only numbers of what they said, kept beside it.

    Memory makes it; its `at` is the time of the newest of these records.

    Args:
        records: How many records it stands for.
        since: The time of the oldest of them.
        dimensions: The keys of the dimensions that they spoke of.
    """

    kind: Literal["summary"] = "summary"
    records: Annotated[int, Field(ge=1)]
    since: AwareDatetime | None = None
    dimensions: tuple[str, ...] = ()


AnyRecord = Annotated[Turn | Comparison | Description | Correction | Summary, Field(discriminator="kind")]
_ADAPTER: TypeAdapter[Turn | Comparison | Description | Correction | Summary] = TypeAdapter(AnyRecord)


def parse_record(data: Any) -> Turn | Comparison | Description | Correction | Summary:
    """The record that a JSON object describes, as `export` writes it.

    Raises:
        InvalidRecordError: The object is not a record.

    Example:
        >>> parse_record({"kind": "turn", "role": "user", "text": "Hello"}).text
        'Hello'
    """
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as error:
        raise InvalidRecordError(*_reasons("Record", error)) from None


def _storable(value: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        msg = "holds a lone surrogate, which cannot be stored; repair it with text.encode('utf-8', 'replace').decode()"
        raise ValueError(msg) from None
    if "\x00" in value:
        msg = "holds a NUL character, which cannot be stored; remove it with text.replace('\\x00', '')"
        raise ValueError(msg)
    return value


def _hash(fields: dict[str, Any]) -> str:
    canonical = json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def _reasons(name: str, error: ValidationError) -> tuple[str, str]:
    parts = []
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        where = ".".join(str(step) for step in problem["loc"] if step not in ("turn", "comparison", "description"))
        what = problem["msg"].removeprefix("Value error, ")
        parts.append(f"{where}: {what}" if where else what)
    return f"{name} is not valid: {'; '.join(parts)}.", "Correct the field and record it again."
