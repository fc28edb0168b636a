"""Writing tensors for others to read, too."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

__all__ = ["write_tensors"]


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, whole or not at all, with the permissions that a new file usually has.

    The library's own `save_file` leaves a file that only its owner may read.
    """
    from safetensors.numpy import save

    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_bytes(save(dict(tensors), dict(metadata) if metadata else None))
    unfinished.replace(path)
