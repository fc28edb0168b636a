"""Tiny random models of every supported architecture, built from their configs; no download."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    FalconConfig,
    FalconForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)

VOCABULARY = 97
_SPECIAL: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": None}
_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    **_SPECIAL,
}
_GROUPED = {**_SIZES, "num_key_value_heads": 2}


def _build(model: type, config: type, **sizes: Any) -> Callable[[], Any]:
    return lambda: model(config(**sizes))


BUILDERS: dict[str, Callable[[], Any]] = {
    "llama": _build(LlamaForCausalLM, LlamaConfig, **_GROUPED, head_dim=16),
    "mistral": _build(MistralForCausalLM, MistralConfig, **_GROUPED, sliding_window=None),
    "qwen2": _build(Qwen2ForCausalLM, Qwen2Config, **_GROUPED),
    "qwen3": _build(Qwen3ForCausalLM, Qwen3Config, **_GROUPED, head_dim=16),
    "gemma2": _build(
        Gemma2ForCausalLM, Gemma2Config, **_GROUPED, head_dim=16, sliding_window=64, tie_word_embeddings=False
    ),
    "gemma3": _build(
        Gemma3ForCausalLM, Gemma3TextConfig, **_GROUPED, head_dim=16, sliding_window=64, tie_word_embeddings=False
    ),
    "phi3": _build(Phi3ForCausalLM, Phi3Config, **_GROUPED),
    "smollm3": _build(SmolLM3ForCausalLM, SmolLM3Config, **_GROUPED),
    "olmo2": _build(Olmo2ForCausalLM, Olmo2Config, **_GROUPED),
    "granite": _build(GraniteForCausalLM, GraniteConfig, **_GROUPED),
    "gpt2": _build(
        GPT2LMHeadModel,
        GPT2Config,
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=3,
        n_head=4,
        n_positions=128,
        initializer_range=0.3,
        **_SPECIAL,
    ),
    "gpt_neox": _build(GPTNeoXForCausalLM, GPTNeoXConfig, **_SIZES),
    "opt": _build(
        OPTForCausalLM,
        OPTConfig,
        vocab_size=VOCABULARY,
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=128,
        init_std=0.3,
        **_SPECIAL,
    ),
    "falcon": _build(
        FalconForCausalLM,
        FalconConfig,
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=128,
        initializer_range=0.3,
        **_SPECIAL,
    ),
}
ARCHITECTURES = tuple(BUILDERS)


def build(architecture: str = "llama", *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Any:
    """A fresh random model in evaluation mode, large-valued so that steering shows."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return BUILDERS[architecture]().to(dtype).eval()
