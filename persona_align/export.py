"""Everything held about a person as one JSON document, and back."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from persona_align.errors import InvalidRecordError
from persona_align.memory import Entry, History
from persona_align.preferences import PreferenceVector
from persona_align.records import Record, Summary, parse_record

__all__ = ["FORMAT", "export_user", "import_user"]

FORMAT = "persona-align/1"


def export_user(user_id: str, history: History, vector: PreferenceVector, *, encoder: str) -> dict[str, Any]:
    """The document: user_id, format, records in time order, preferences, and the numbers kept beside the records."""
    return {
        "format": FORMAT,
        "user_id": user_id,
        "records": [entry.record.model_dump(mode="json", exclude_none=True) for entry in history.entries],
        "preferences": {
            reading.key: {"value": reading.value, "confidence": reading.confidence, "support": reading.support}
            for reading in vector.top(len(vector))
        },
        "vector": vector.model_dump(mode="json"),
        "encoder": encoder,
        "numbers": [
            {
                "id": entry.record.id,
                "version": entry.version,
                "embedding": _pack(entry.embedding),
                "numbers": {name: _pack(np.asarray(array)) for name, array in entry.numbers.items()},
            }
            for entry in history.entries
        ],
    }


def import_user(
    data: Mapping[str, Any], *, encoder: str, version: str, dimension: int
) -> tuple[str, list[Record], list[Entry]]:
    """The user, all records, and ready entries for those whose numbers this encoder and scorer made.

    Raises:
        InvalidRecordError: The document is not an export or of another format.
    """
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, Mapping) else type(data).__name__
        raise InvalidRecordError(
            f"This is not an export of format {FORMAT!r}; found {found!r}.",
            "Give what `aligner.export(user)` returned.",
        )
    try:
        user_id, raw = data["user_id"], list(data["records"])
    except (KeyError, TypeError) as error:
        raise InvalidRecordError(f"The export lacks {error}.", "Give what `aligner.export(user)` returned.") from None
    records = [_parse(number, item) for number, item in enumerate(raw)]
    by_id = {record.id: record for record in records}
    same = data.get("encoder") == encoder
    entries = []
    for item in data.get("numbers", ()):
        record = by_id.get(item["id"])
        if isinstance(record, Summary):  # its numbers can be had from nowhere else, and are of no encoder
            embedding = np.zeros(dimension, np.float32)
        elif record is not None and same and item["version"] == version:
            embedding = _unpack(item["embedding"])
        else:
            continue
        if embedding.shape == (dimension,):
            numbers = {name: _unpack(packed) for name, packed in item["numbers"].items()}
            entries.append(Entry(record=record, embedding=embedding, numbers=numbers, version=item["version"]))
    return user_id, records, entries


def _parse(number: int, item: Any) -> Record:
    try:
        return parse_record(item)
    except InvalidRecordError as error:
        raise InvalidRecordError(f"Record {number + 1} of the export: {error.message}", error.remedy) from None


def _pack(array: np.ndarray) -> dict[str, Any]:
    return {
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "data": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode(),
    }


def _unpack(packed: Mapping[str, Any]) -> np.ndarray:
    dtype = np.dtype(packed["dtype"])
    if dtype.hasobject:
        raise InvalidRecordError("The export holds an array of objects.", "Export the person again.")
    return np.frombuffer(base64.b64decode(packed["data"]), dtype=dtype).reshape(packed["shape"]).copy()
