"""The on-disk form of activation offsets: safetensors for the values, JSON for people."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from persona_align.errors import IncompatibleOffsetsError
from persona_align.steering.tensor_files import write_tensors

if TYPE_CHECKING:
    from persona_align.steering.offsets import ActivationOffsets

__all__ = ["load", "push", "save"]

FORMAT = "persona-align activation offsets"
VERSION = 1
TENSORS_FILE = "activation_offsets.safetensors"
CONFIG_FILE = "activation_offsets.json"


def save(offsets: "ActivationOffsets", folder: Path) -> None:
    """Write `offsets` to `folder`; the same offsets give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    described = _describe(offsets)
    tensors = {"heads": offsets._heads, "values": offsets._packed}
    write_tensors(folder / TENSORS_FILE, tensors, {"offsets": json.dumps(described, sort_keys=True)})
    (folder / CONFIG_FILE).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def load(source: str | Path, hf_model: Any, hub: dict[str, Any]) -> tuple[Any, ...]:
    """The parts of the offsets in a folder or hub repository, checked against `hf_model` where one is given."""
    from persona_align.steering.offsets import Geometry

    path = _locate(source, hub)
    described, heads, packed = _read(path)
    shape = described["geometry"]
    geometry = Geometry(shape["layers"], shape["heads"], shape["head_dim"])
    fits = packed.shape == (len(heads), geometry.head_dim) and (
        len(heads) == 0 or (heads.min() >= 0 and heads.max() < geometry.layers * geometry.heads)
    )
    if not fits:
        raise IncompatibleOffsetsError(f"The values in {path} do not fit the geometry {geometry} that it names.", "")
    if hf_model is not None:
        _check_model(described["fingerprint"], geometry, hf_model)
    return heads, packed, geometry, described["fingerprint"], described["positions"], described["reason"]


def push(offsets: "ActivationOffsets", repo_id: str, **hub: Any) -> str:
    """Upload `offsets` to the hub's repository `repo_id` and return the commit's address."""
    from huggingface_hub import HfApi

    api = HfApi(token=hub.pop("token", None))
    api.create_repo(repo_id, private=hub.pop("private", None), exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        save(offsets, Path(folder))
        message = hub.pop("commit_message", "Upload activation offsets")
        return str(api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message, **hub))


def _describe(offsets: "ActivationOffsets") -> dict[str, Any]:
    geometry = offsets.geometry
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "fingerprint": offsets.fingerprint,
        "geometry": {"layers": geometry.layers, "heads": geometry.heads, "head_dim": geometry.head_dim},
        "positions": offsets.positions,
        "reason": offsets.reason,
        "content_hash": offsets.content_hash,
        "norm": offsets.norm,
    }


def _locate(source: str | Path, hub: dict[str, Any]) -> Path:
    folder = Path(source)
    if folder.is_dir():
        return folder / TENSORS_FILE
    if isinstance(source, Path) or str(source).count("/") > 1 or str(source).startswith((".", "~")):
        msg = f"There is no folder {source}."
        raise FileNotFoundError(msg)
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(source, TENSORS_FILE, **hub))


def _read(path: Path) -> tuple[dict[str, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"There is no {path.name} in {path.parent}.")
    try:
        with safe_open(path, framework="numpy") as tensors:
            described = json.loads((tensors.metadata() or {}).get("offsets", "{}"))
            if described.get("format") != FORMAT:
                raise IncompatibleOffsetsError(f"{path} does not hold activation offsets.", "Look for another folder.")
            if described["format_version"] > VERSION:
                raise IncompatibleOffsetsError(
                    f"{path} is of format version {described['format_version']}; this release reads up to {VERSION}.",
                    "Upgrade persona-align.",
                )
            return described, tensors.get_tensor("heads"), tensors.get_tensor("values")
    except SafetensorError as error:
        raise IncompatibleOffsetsError(f"{path} cannot be read: {error}.", "Save the offsets again.") from error


def _check_model(fingerprint: str, geometry: Any, hf_model: Any) -> None:
    from persona_align.steering.fingerprint import model_fingerprint

    actual = getattr(hf_model, "fingerprint", None) or model_fingerprint(hf_model)
    if actual != fingerprint:
        raise IncompatibleOffsetsError(
            f"These offsets ({geometry}) belong to the model {fingerprint}, and this model is {actual}.",
            "Load the model they were computed on, or compute them again on this one.",
        )
