"""persona-align's own records: one to a line, a list of them, or the file that `persona-align export` writes."""

from collections.abc import Iterator

from persona_align.errors import InvalidRecordError
from persona_align.formats.conversation import FileRecord
from persona_align.formats.node import Node
from persona_align.records import Correction, Summary, parse_record

__all__ = ["is_message", "recognises", "records"]

_KINDS = frozenset({"turn", "comparison", "description", "correction"})


def is_message(node: Node) -> bool:
    """Whether a value is one message: never, every record stands for itself."""
    del node
    return False


def recognises(node: Node) -> bool:
    """Whether a value is a record, or an export."""
    if isinstance(node.value, dict) and node.value.get("kind") in _KINDS:
        return True
    return node.has("records") and isinstance(node.value["records"], list)


def records(node: Node) -> Iterator[FileRecord]:
    """The record, or the records of an export; corrections and summaries come back with `restore` alone."""
    if node.has("records"):
        for element in node.need("records").elements():
            yield from records(element)
        return
    node.need("kind")
    try:
        record = parse_record(node.value)
    except InvalidRecordError as error:
        raise node.fail(f"cannot be recorded: {error.message.removesuffix('.')}") from None
    if not isinstance(record, Correction | Summary):
        yield record
