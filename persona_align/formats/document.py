"""A JSON or JSON Lines file, read so that every complaint can name the line and the field."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from persona_align.errors import InvalidRecordError
from persona_align.formats.node import Node, Step

__all__ = ["Document", "open_documents", "read_document"]

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_BLANK = " \t\r\n"


def open_documents(path: Path) -> list["Document"]:
    """The JSON documents in a file: itself, or the `conversations*.json` of a zip archive.

    Raises:
        InvalidRecordError: There is no such file, it is a folder, or it cannot be read.
    """
    if path.is_dir():
        raise InvalidRecordError(f"{path} is a folder.", "Name one file in it.")
    if not path.exists():
        raise InvalidRecordError(f"There is no file {path}.", "Check the name and the folder you are in.")
    try:
        if not zipfile.is_zipfile(path):
            return [Document(str(path), lambda: path.open("rb"))]
        with zipfile.ZipFile(path) as archive:
            members = sorted(name for name in archive.namelist() if _is_conversations(name))
    except OSError as error:
        raise InvalidRecordError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from None
    if not members:
        raise InvalidRecordError(
            f"{path} is a zip archive without a conversations.json.", "Unpack it and name the file with the chats."
        )
    return [Document(f"{path}/{member}", _member_opener(path, member)) for member in members]


def read_document(path: Path) -> Any:
    """The whole value of a JSON file.

    Raises:
        InvalidRecordError: There is no such file, or it is not JSON, or cut off.
    """
    return open_documents(path)[0].whole


@dataclass(frozen=True, eq=False)
class Document:
    """One JSON or JSON Lines text.

    Args:
        name: What messages call it.
        open: Opens its bytes from the beginning.
    """

    name: str
    open: Callable[[], IO[bytes]]

    def nodes(self) -> Iterator[Node]:
        """Its values, one at a time: the lines of JSON Lines, the elements of a list, or the one object.

        JSON Lines are streamed. May be called again.

        Raises:
            InvalidRecordError: Not UTF-8 or UTF-16, not JSON, cut off, or empty.
        """
        if self.has_lines:
            yield from self._line_nodes()
            return
        root = self.whole
        if isinstance(root, list):
            for position, value in enumerate(root):
                yield Node(value, (position,), self)
        else:
            yield Node(root, (), self)

    def fail(
        self, problem: str, remedy: str, *, path: tuple[Step, ...] = (), line: int | None = None
    ) -> InvalidRecordError:
        """An error that names the document, the line and what is wrong."""
        number = line if line is not None else self._line_of(path)
        return InvalidRecordError(f"{self.name}, line {number}: {problem}", remedy)

    @cached_property
    def has_lines(self) -> bool:
        """Whether it is JSON Lines: its first line is a whole value and more follows."""
        with self._text() as text:
            first = next((line for line in self._decoded(text) if line.strip()), None)
            if first is None:
                raise InvalidRecordError(f"{self.name} is empty.", "Check that it was written completely.")
            if not isinstance(_json_or_none(first), dict | list):
                return False
            return self.name.endswith((".jsonl", ".ndjson")) or any(line.strip() for line in self._decoded(text))

    @cached_property
    def whole(self) -> Any:
        """The one value that the document is."""
        with self._text() as text:
            return self._parse("".join(self._decoded(text)), 1)

    def _line_nodes(self) -> Iterator[Node]:
        with self._text() as text:
            for number, line in enumerate(self._decoded(text), 1):
                if line.strip():
                    yield Node(self._parse(line, number), (), self, number)

    def _parse(self, text: str, first_line: int) -> Any:
        try:
            return json.loads(text, parse_constant=_no_constant)
        except json.JSONDecodeError as error:
            line = first_line + error.lineno - 1
            if error.msg.startswith("Unterminated string") or error.pos >= len(text.rstrip()):
                problem = "the JSON ends in the middle; nothing was read in."
                raise self.fail(problem, "Export or copy the file again.", line=line) from None
            raise self.fail(f"not JSON: {error.msg} at column {error.colno}.", "Correct the line.", line=line) from None
        except RecursionError:
            raise self.fail("the JSON is nested too deeply.", "Check where it came from.", line=first_line) from None
        except ValueError as error:
            raise self.fail(f"not JSON: {error}.", "Correct the number.", line=first_line) from None

    def _text(self) -> IO[str]:
        try:
            stream = self.open()
        except OSError as error:
            raise InvalidRecordError(
                f"{self.name} cannot be read: {error.strerror}.", "Check its permissions."
            ) from None
        head = stream.read(4)
        stream.close()
        encoding = next((name for mark, name in _BOMS if head.startswith(mark)), "utf-8")
        return io.TextIOWrapper(self.open(), encoding=encoding)

    def _decoded(self, text: IO[str]) -> Iterator[str]:
        try:
            yield from iter(text.readline, "")
        except UnicodeError:
            raise self.fail(
                "not UTF-8 text.",
                "Convert the file, for instance with `iconv -f latin1 -t utf-8 OLD > NEW`.",
                line=self._undecodable_line(),
            ) from None

    def _undecodable_line(self) -> int:
        number = 0
        with self.open() as stream:
            for number, line in enumerate(stream, 1):
                try:
                    line.decode()
                except UnicodeDecodeError:
                    return number
        return max(number, 1)

    def _line_of(self, path: tuple[Step, ...]) -> int:
        """Where a value of the whole document begins; read again, since it is only asked for once."""
        with self._text() as stream:
            text = stream.read()
        return text.count("\n", 0, _offset(text, path)) + 1


def _offset(text: str, path: tuple[Step, ...]) -> int:
    decode = json.JSONDecoder().raw_decode
    position = _skip(text, 0)
    for step in path:
        position = _skip(text, position + 1)
        index = 0
        while True:
            if text[position] == '"' and isinstance(step, str):
                name, after = decode(text, position)
                value = _skip(text, _skip(text, after) + 1)
                if name == step:
                    position = value
                    break
                position = value
            elif index == step:
                break
            _, after = decode(text, position)
            position = _skip(text, _skip(text, after) + 1)
            index += 1
    return position


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in _BLANK:
        position += 1
    return position


def _json_or_none(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> Any:
    msg = f"{name} is not a JSON value"
    raise ValueError(msg)


def _is_conversations(name: str) -> bool:
    base = name.rsplit("/", 1)[-1]
    return base.startswith("conversations") and base.endswith(".json")


def _member_opener(path: Path, member: str) -> Callable[[], IO[bytes]]:
    def opener() -> IO[bytes]:
        return io.BytesIO(zipfile.ZipFile(path).read(member))

    return opener
