"""Which format a file is in, and its records."""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Protocol, cast

from persona_align.errors import InvalidRecordError
from persona_align.formats import alignx, chatgpt_export, langchain, native, openai, prefeval, sharegpt
from persona_align.formats.conversation import FileRecord, Message, turns
from persona_align.formats.document import Document, open_documents
from persona_align.formats.node import Node

__all__ = ["FORMATS", "Source", "open_source"]


class _Format(Protocol):
    """What a format module offers."""

    def is_message(self, node: Node) -> bool: ...
    def recognises(self, node: Node) -> bool: ...
    def records(self, node: Node) -> Iterator[FileRecord]: ...


class _Messages(_Format, Protocol):
    def message(self, node: Node) -> Message: ...


# The order is that of trying: the most particular first.
_FORMATS: dict[str, _Format] = {
    "chatgpt-export": chatgpt_export,
    "sharegpt": sharegpt,
    "alignx": alignx,
    "prefeval": prefeval,
    "records": native,
    "langchain": langchain,
    "openai": openai,
}
FORMATS = ("auto", "openai", "sharegpt", "langchain", "chatgpt-export", "alignx", "prefeval", "records")
"""What `--format` takes."""


class Source:
    """A file of somebody's history in a known format.

    Args:
        documents: The JSON texts of the file.
        format: One of `FORMATS`, but not "auto".
    """

    def __init__(self, documents: list[Document], format: str) -> None:
        self.documents = documents
        self.format = format

    def groups(self) -> Iterator[Iterator[FileRecord]]:
        """The records of each conversation or case, in order; a group must be read before the next is asked for."""
        form = _FORMATS[self.format]
        for document in self.documents:
            nodes = document.nodes()
            first = next(nodes, None)
            if first is None:
                continue
            rest = chain((first,), nodes)
            if form.is_message(first):  # the document is one conversation, a message at a time
                yield turns(map(cast("_Messages", form).message, rest))
            else:
                yield from map(form.records, rest)

    def records(self, *, case: int | None = None) -> Iterator[FileRecord]:
        """The records, streamed; reading them all is what shows that the file is sound.

        Args:
            case: The place, from 0, of the only conversation or case to read.

        Raises:
            InvalidRecordError: The file is not sound; the message names the line and the field.
        """
        if case is None:
            for group in self.groups():
                yield from group
            return
        number = -1
        for number, group in enumerate(self.groups()):
            if number == case:
                yield from group
                return
        raise InvalidRecordError(f"There is no case {case}: the file holds {number + 1}.", "The first one is case 0.")

    def by_user(self, field: str) -> Iterator[tuple[str, Iterator[FileRecord]]]:
        """The user that each conversation or case names in a field, with its records.

        Raises:
            InvalidRecordError: A conversation names no user.
        """
        form = _FORMATS[self.format]
        for document in self.documents:
            for node in document.nodes():
                user = node.label(field)
                if not (user and user.strip()):
                    raise node.need(field).fail("is empty")
                yield user, form.records(node)

    @property
    def people(self) -> int:
        """How many different people the file is about, as far as its format says: AlignX's cases are one each."""
        if self.format != "alignx":
            return 1
        return sum(alignx.is_case(node) for document in self.documents for node in document.nodes()) or 1


def open_source(path: Path, format: str = "auto") -> Source:
    """A file of somebody's history.

    Args:
        path: A JSON or JSON Lines file, or the zip of a ChatGPT export.
        format: One of `FORMATS`; "auto" looks at the first value.

    Raises:
        InvalidRecordError: There is no such file or format, or it is not to be recognised.
    """
    if format not in FORMATS:
        raise InvalidRecordError(f"There is no format {format!r}.", f"Use one of {', '.join(FORMATS)}.")
    documents = open_documents(path)
    return Source(documents, _detect(documents) if format == "auto" else format)


def _detect(documents: list[Document]) -> str:
    first = next(chain.from_iterable(document.nodes() for document in documents), None)
    if first is None:
        raise InvalidRecordError(f"{documents[0].name} holds an empty list.", "Check that it is the right file.")
    looked_at = [first, *(first.elements()[:1] if isinstance(first.value, list) else [])]
    for name, form in _FORMATS.items():
        if any(form.recognises(node) or form.is_message(node) for node in islice(looked_at, 2)):
            return name
    raise first.document.fail(
        f"found {looked_at[-1].kind}, which is none of the known formats.",
        f"Name the format with --format ({', '.join(FORMATS[1:])}), or convert the file to lines of "
        '{"role": "user", "content": "..."}.',
        path=first.path,
        line=first.line,
    )
