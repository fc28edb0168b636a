"""Shared fixtures: where the benchmark data lies, and a seed for everything."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def benchmark_data() -> Path:
    """The folder of public benchmark data; the test is skipped where it is missing."""
    folder = Path(os.environ.get("PERSONA_ALIGN_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"benchmark data not found at {folder}: set PERSONA_ALIGN_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def encoder() -> object:
    """The bundled encoder, opened once for all tests."""
    from persona_align.encoder import open_encoder

    return open_encoder()
