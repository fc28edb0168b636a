"""The attention output projections of a causal language model, whatever its architecture calls them."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from persona_align.errors import UnsupportedModelError
from persona_align.steering.offsets import Geometry

__all__ = ["Projections", "find_projections"]

_OUTPUT_NAMES = frozenset({"o_proj", "out_proj", "c_proj", "dense", "wo"})
_ATTENTION_NAMES = frozenset({"self_attn", "self_attention", "attn", "attention"})
_CROSS_NAMES = frozenset({"crossattention", "cross_attn", "encoder_attn", "cross_attention"})
_HEAD_COUNTS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
# Parts of the names of layer kinds that keep a running state in place of softmax attention.
_STATEFUL = (
    "linear_att",
    "linearatt",
    "mamba",
    "deltanet",
    "recurrent",
    "rwkv",
    "lightning",
    "shortconv",
    "ssm",
    "xlstm",
)
_REMEDY = "Steer a decoder whose every layer has softmax attention and one output projection, such as Llama or GPT-2."


@dataclass(frozen=True, kw_only=True, eq=False)
class Projections:
    """Where a model's head outputs are mixed: one module a layer, and the shape of what enters it.

    Args:
        modules: The output projections in layer order.
        geometry: Layers, query heads and head dimension.
        stack: The module that runs the layers; it is called once a forward pass.
    """

    modules: tuple[nn.Module, ...]
    geometry: Geometry
    stack: nn.Module


def find_projections(hf_model: nn.Module) -> Projections:
    """The attention output projection of every layer, found by structure.

    The head dimension is the width of the projection's input divided by the number of query heads: `hidden_size`
    divided by heads is wrong for Gemma, and `config.head_dim` may be missing.

    Args:
        hf_model: A Hugging Face causal language model.

    Returns:
        The modules in layer order, their geometry and the stack that runs them.

    Raises:
        UnsupportedModelError: The model cannot be steered; the message says why.
    """
    config = _text_config(hf_model)
    name = type(hf_model).__name__
    _refuse_by_config(name, config)
    stack, layers = _decoder_layers(hf_model, name, config)
    modules, geometries = [], set()
    for index, layer in enumerate(layers):
        attention, module = _projection_of(layer, index, name)
        modules.append(module)
        geometries.add(_head_shape(module, attention, config, index, name))
    if len(geometries) > 1:
        raise UnsupportedModelError(
            f"The layers of {name} differ in their attention heads ({_shapes(geometries)}), "
            "so that one array of offsets does not fit them.",
            _REMEDY,
        )
    heads, head_dim = geometries.pop()
    geometry = Geometry(layers=len(modules), heads=heads, head_dim=head_dim)
    return Projections(modules=tuple(modules), geometry=geometry, stack=stack)


def _text_config(hf_model: nn.Module) -> Any:
    config = getattr(hf_model, "config", None)
    if config is None:
        raise UnsupportedModelError(
            f"{type(hf_model).__name__} is not a Hugging Face model: it has no config.", _REMEDY
        )
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _refuse_by_config(name: str, config: Any) -> None:
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModelError(f"{name} is an encoder-decoder; only decoders can be steered.", _REMEDY)
    kinds = [kind for kind in getattr(config, "layer_types", None) or () if isinstance(kind, str)]
    stateful = sorted({kind for kind in kinds if _is_stateful(kind) or "conv" in kind})
    if stateful:
        raise UnsupportedModelError(
            f"{name} has {' and '.join(stateful)} layers, which have no attention heads to steer.", _REMEDY
        )
    if getattr(config, "slow_but_exact", False) and getattr(config, "pretraining_tp", 1) > 1:
        raise UnsupportedModelError(
            f"{name} with slow_but_exact slices the projection's weight by hand and never calls the projection.",
            "Set config.slow_but_exact to False.",
        )


def _decoder_layers(hf_model: nn.Module, name: str, config: Any) -> tuple[nn.Module, nn.ModuleList]:
    count = getattr(config, "num_hidden_layers", None)
    found = [
        (parent, child)
        for parent in hf_model.modules()
        for child in parent.children()
        if isinstance(child, nn.ModuleList) and len(child) == count and any(_attentions(layer) for layer in child)
    ]
    if found:
        return found[0]
    stateful = sorted({type(part).__name__ for part in hf_model.modules() if _is_stateful(type(part).__name__)})
    if stateful:
        reason = f"{name} is built on {stateful[0]}, which has no attention heads to steer."
    else:
        reason = f"{name} has no list of {count} decoder layers with an attention module in each."
    raise UnsupportedModelError(reason, _REMEDY)


def _projection_of(layer: nn.Module, index: int, name: str) -> tuple[nn.Module, nn.Module]:
    stateful = [
        type(part).__name__
        for path, part in layer.named_modules()
        if _is_stateful(path.rpartition(".")[-1]) or _is_stateful(type(part).__name__)
    ]
    if stateful:
        raise UnsupportedModelError(
            f"Layer {index} of {name} runs {stateful[0]}, whose running state has no attention heads to steer.", _REMEDY
        )
    found = _attentions(layer)
    if not found:
        raise UnsupportedModelError(
            f"Layer {index} of {name} has no attention output projection among its modules; "
            "its attention is fused or of a kind that is not known.",
            _REMEDY,
        )
    if len(found) > 1:
        raise UnsupportedModelError(
            f"Layer {index} of {name} has {len(found)} attention output projections; which to steer is not clear.",
            _REMEDY,
        )
    attention, module = found[0]
    if isinstance(attention, nn.MultiheadAttention):
        raise UnsupportedModelError(
            f"{name} uses torch's fused MultiheadAttention, which never calls its output projection as a module.",
            _REMEDY,
        )
    return attention, module


def _attentions(layer: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
    """The (attention, output projection) pairs of one layer; the projection is the last linear module of its name."""
    named = dict(layer.named_modules())
    found = []
    for path, module in named.items():
        parts = path.split(".")
        above = set(parts[:-1])
        if parts[-1] in _OUTPUT_NAMES and above & _ATTENTION_NAMES and not above & _CROSS_NAMES and _width(module):
            found.append((named[".".join(parts[:-1])], module))
    return found


def _width(module: nn.Module) -> int | None:
    """How many features enter a linear module: nn.Linear, its quantised kin, and GPT-2's Conv1D ([in, out])."""
    for attribute in ("in_features", "input_size_per_partition"):
        if isinstance(width := getattr(module, attribute, None), int):
            return width
    weight = getattr(module, "weight", None)
    if type(module).__name__ == "Conv1D" and weight is not None:
        return int(weight.shape[0])
    return None


def _head_shape(module: nn.Module, attention: nn.Module, config: Any, index: int, name: str) -> tuple[int, int]:
    width = _width(module) or 0
    for source in (attention, config):
        for attribute in _HEAD_COUNTS:
            heads = getattr(source, attribute, None)
            if isinstance(heads, int) and heads > 0 and width % heads == 0:
                return heads, width // heads
    raise UnsupportedModelError(
        f"The {width} inputs of layer {index}'s output projection in {name} do not divide into attention heads.",
        _REMEDY,
    )


def _is_stateful(kind: str) -> bool:
    return any(part in kind.lower() for part in _STATEFUL)


def _shapes(geometries: set[tuple[int, int]]) -> str:
    return ", ".join(f"{heads} x {width}" for heads, width in sorted(geometries))
