"""Writes a small file and reads it back as records."""

import json
from pathlib import Path

import pytest

from persona_align.formats import open_source


@pytest.fixture
def write(tmp_path):
    """Write text, bytes, or a value as JSON; the path."""

    def writer(content, name="chat.json") -> Path:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return writer


@pytest.fixture
def read(write):
    """The records of a file with this content."""

    def reader(content, name="chat.json", format="auto", case=None):
        return list(open_source(write(content, name), format).records(case=case))

    return reader
