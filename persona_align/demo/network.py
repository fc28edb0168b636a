"""The architecture of the bundled model."""

from typing import Any

__all__ = ["new_model"]


def new_model(vocabulary: int, *, seed: int) -> Any:
    """A fresh Llama with grouped-query attention, about 4 million parameters.

    Returns:
        A transformers `LlamaForCausalLM` in float32.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=8,
        num_attention_heads=6,
        num_key_value_heads=3,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config)
