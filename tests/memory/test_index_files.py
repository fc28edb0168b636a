"""Clearing index files while a database closes behind us."""

import struct

from persona_align.memory import index_files
from persona_align.memory.index_files import clear_unused

HEADER = struct.pack("<iQQQQ", 0, 0, 100, 3, 8)


def write_index(folder):
    (folder / "data_level0.bin").write_bytes(b"x" * 800)
    (folder / "length.bin").write_bytes(b"x" * 40)
    (folder / "header.bin").write_bytes(HEADER)


def test_an_index_that_is_being_made_anew_is_cleared_when_it_is_there(tmp_path, monkeypatch):
    waits = []

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            write_index(tmp_path)

    monkeypatch.setattr(index_files.time, "sleep", wait)
    clear_unused({tmp_path})
    assert len(waits) == 3
    assert (tmp_path / "data_level0.bin").read_bytes() == b"x" * 24 + bytes(776)
    assert (tmp_path / "length.bin").read_bytes() == bytes(40)


def test_an_index_that_is_gone_stops_nothing(tmp_path):
    gone, there = tmp_path / "gone", tmp_path / "there"
    there.mkdir()
    write_index(there)
    clear_unused([gone, there])
    assert (there / "data_level0.bin").read_bytes() == b"x" * 24 + bytes(776)
