"""Loading the bundled model."""

import hashlib
import json
from pathlib import Path
from typing import Any

from persona_align.errors import PersonaAlignError

__all__ = ["basis_folder", "load", "shipped_basis"]

_HERE = Path(__file__).parent


def load(folder: Path | str | None = None) -> tuple[Any, Any]:
    """A fresh float32 model and its tokenizer, offline.

    Args:
        folder: Another folder of the same files, for example one that was just trained; the bundled one by default.

    Returns:
        A transformers `LlamaForCausalLM` in evaluation mode and its tokenizer. Each call gives new objects.

    Raises:
        PersonaAlignError: A file is missing or altered, or the tokenizer is not the one that the weights belong to.

    Example:
        >>> model, tokenizer = load()
        >>> model.config.num_key_value_heads < model.config.num_attention_heads
        True
    """
    place = Path(folder) if folder is not None else _HERE / "model"
    _check_files(place)
    _check_tokenizer(place)
    import torch
    from safetensors.torch import load_file
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    config = LlamaConfig.from_pretrained(place, local_files_only=True)
    weights = {name: tensor.float() for name, tensor in load_file(place / "model.safetensors").items()}
    # Built directly: from_pretrained draws a progress bar. A new model is drawn at random, which the caller's random
    # numbers must not notice.
    with torch.random.fork_rng(devices=[]):
        model: Any = LlamaForCausalLM(config)
    model.load_state_dict(weights, strict=False)
    model.tie_weights()
    model.generation_config = GenerationConfig.from_pretrained(place, local_files_only=True)
    model.config.name_or_path = "persona-align-demo"
    tokenizer = PreTrainedTokenizerFast.from_pretrained(place, local_files_only=True)
    return model.eval(), tokenizer


def basis_folder() -> Path:
    """Where the steering basis fitted to the bundled model lies; read it with `SteeringBasis.from_pretrained`."""
    return _HERE / "basis"


def shipped_basis(hf_model: Any) -> Any:
    """The shipped steering basis if it belongs to this model, else None."""
    from persona_align.errors import IncompatibleOffsetsError
    from persona_align.steering import SteeringBasis

    try:
        return SteeringBasis.from_pretrained(basis_folder(), hf_model)
    except IncompatibleOffsetsError:
        return None


def _check_files(folder: Path) -> None:
    sums = folder / "checksums.json"
    remedy = "Install persona-align again, or train the model anew: python -m persona_align.demo.train."
    if not sums.exists():
        raise PersonaAlignError(f"The demo model is missing: there is no {sums}.", remedy)
    for name, expected in json.loads(sums.read_text(encoding="utf-8")).items():
        path = folder / name
        if not path.exists():
            raise PersonaAlignError(f"The demo model is incomplete: {path} is missing.", remedy)
        if _sha256(path) != expected:
            raise PersonaAlignError(f"The demo model was altered: {path} does not match its checksum.", remedy)


def _check_tokenizer(folder: Path) -> None:
    """Refuse a tokenizer other than the one named in the weights file, even where the checksums agree with it."""
    with (folder / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    if header.get("__metadata__", {}).get("tokenizer") != _sha256(folder / "tokenizer.json"):
        raise PersonaAlignError(
            f"The tokenizer in {folder} does not belong to the weights beside it.",
            "Put back the tokenizer.json that was written together with model.safetensors.",
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
