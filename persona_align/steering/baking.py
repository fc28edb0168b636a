"""One persona as an ordinary checkpoint, for serving engines that know nothing of steering."""

import copy
from pathlib import Path
from typing import Any

import torch

from persona_align.errors import IncompatibleOffsetsError, UnsupportedModelError
from persona_align.steering.contributions import Contributions
from persona_align.steering.fingerprint import model_fingerprint
from persona_align.steering.offsets import ActivationOffsets
from persona_align.steering.projections import find_projections

__all__ = ["bake"]

_BIAS_SWITCHES = ("attention_bias", "bias")


def bake(hf_model: Any, offsets: ActivationOffsets, folder: str | Path, *, tokenizer: Any = None) -> Path:
    """Write a Hugging Face model folder whose output projections carry the offsets as biases.

    The model itself is not changed. Where its projections have no bias yet, but its config can switch attention
    biases on, the written model has them, all zero but those of the output projections.

    Args:
        hf_model: The model the offsets belong to, in floating point.
        offsets: For all positions: a bias cannot tell a prompt from an answer.
        folder: Where to write; made where it is missing.
        tokenizer: Saved beside the model where one is given.

    Returns:
        The folder, for `AutoModelForCausalLM.from_pretrained`.

    Raises:
        UnsupportedModelError: The architecture has no bias on its output projection, or the weights are quantised.
        IncompatibleOffsetsError: Offsets of another model, or not for all positions.
    """
    projections = find_projections(hf_model)
    _check(offsets, model_fingerprint(hf_model, projections))
    if getattr(hf_model, "is_quantized", False):
        raise UnsupportedModelError("A quantised model cannot be baked.", "Load it in bfloat16 or float32.")
    added = Contributions(projections.modules, dtype=hf_model.dtype).of(offsets)
    names = [_bias_name(hf_model, module) for module in projections.modules]
    target = _with_biases(hf_model, names)
    state = hf_model.state_dict()
    for name, tensor in target.state_dict().items():
        if name not in state:
            state[name] = torch.zeros(tensor.shape, dtype=hf_model.dtype)
    for name, contribution in zip(names, added, strict=True):
        state[name] = state[name] + contribution.to(state[name])
    target.save_pretrained(folder, state_dict=state)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return Path(folder)


def _check(offsets: ActivationOffsets, fingerprint: str) -> None:
    if offsets.fingerprint != fingerprint:
        raise IncompatibleOffsetsError(
            f"The offsets belong to the model {offsets.fingerprint}, and this model is {fingerprint}.",
            "Load the model they were computed on.",
        )
    if offsets.positions != "all":
        raise IncompatibleOffsetsError(
            f"Offsets for {offsets.positions} positions cannot become a bias, which holds everywhere.",
            'Bake offsets.at("all") if that is what you want.',
        )


def _bias_name(hf_model: Any, projection: torch.nn.Module) -> str:
    return next(f"{name}.bias" for name, module in hf_model.named_modules() if module is projection)


def _with_biases(hf_model: Any, names: list[str]) -> Any:
    """The same architecture without weights, its attention biases switched on where they are not."""
    held = hf_model.state_dict().keys()
    switches = (
        [None] if held >= set(names) else [s for s in _BIAS_SWITCHES if getattr(hf_model.config, s, None) is False]
    )
    for switch in switches:
        config = copy.deepcopy(hf_model.config)
        if switch is not None:
            setattr(config, switch, True)
        with torch.device("meta"):
            target = type(hf_model)(config)
        gained = target.state_dict().keys() - held
        if target.state_dict().keys() >= set(names) and all(name.endswith(".bias") for name in gained):
            target.generation_config = copy.deepcopy(hf_model.generation_config)
            return target
    raise UnsupportedModelError(
        f"{type(hf_model).__name__} has no bias on its attention output projections to hold the offsets.",
        "Serve it with ChatTransformers, which steers without changing the model.",
    )
