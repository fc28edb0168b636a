"""Finding projections by structure, and refusing what cannot be steered with a sentence that says why."""

import pytest
import torch
from torch import nn
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    FalconH1Config,
    FalconH1ForCausalLM,
    GPTJConfig,
    GPTJForCausalLM,
    JambaConfig,
    JambaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
    RwkvConfig,
    RwkvForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from persona_align.errors import UnsupportedModelError
from persona_align.steering import SteeredModel, find_projections, model_fingerprint
from tests.steering.models import ARCHITECTURES, build

TINY = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_layer_has_its_projection(architecture: str):
    hf_model = build(architecture)
    found = find_projections(hf_model)
    names = {module: name for name, module in hf_model.named_modules()}
    assert [names[module].split(".")[-3] for module in found.modules] == ["0", "1", "2"]
    assert found.geometry.heads == 4
    wide = hasattr(hf_model.config, "head_dim") and architecture in ("llama", "qwen3", "gemma2", "gemma3")
    assert found.geometry.head_dim == (16 if wide else 8)


@pytest.mark.parametrize(
    ("hf_model", "head_dim"),
    [
        (lambda: PhiForCausalLM(PhiConfig(**TINY, intermediate_size=16)), 8),
        (lambda: GPTJForCausalLM(GPTJConfig(vocab_size=20, n_embd=16, n_layer=2, n_head=2, rotary_dim=4)), 8),
        (lambda: BloomForCausalLM(BloomConfig(vocab_size=20, hidden_size=16, n_layer=2, n_head=2)), 8),
        (
            lambda: DeepseekV3ForCausalLM(
                DeepseekV3Config(
                    **TINY,
                    intermediate_size=16,
                    num_key_value_heads=2,
                    q_lora_rank=8,
                    kv_lora_rank=8,
                    qk_rope_head_dim=4,
                    qk_nope_head_dim=4,
                    v_head_dim=6,
                    n_routed_experts=4,
                    n_group=1,
                    topk_group=1,
                    num_experts_per_tok=2,
                    moe_intermediate_size=8,
                    first_k_dense_replace=1,
                )
            ),
            6,
        ),
    ],
    ids=["phi", "gptj", "bloom", "deepseek_v3"],
)
def test_other_architectures_work_where_they_match(hf_model: object, head_dim: int):
    assert find_projections(hf_model()).geometry.head_dim == head_dim


def _fused() -> nn.Module:
    hf_model = build()
    for layer in hf_model.model.layers:
        layer.self_attn = nn.MultiheadAttention(32, 4)
    return hf_model


def _uneven() -> nn.Module:
    hf_model = build()
    hf_model.model.layers[1].self_attn.o_proj = nn.Linear(32, 32)
    return hf_model


def _bare() -> nn.Module:
    hf_model = build()
    hf_model.model.layers[2].self_attn = nn.Identity()
    return hf_model


REFUSED = {
    "linear_attention layers": lambda: Qwen3NextForCausalLM(
        Qwen3NextConfig(
            **TINY,
            intermediate_size=16,
            num_key_value_heads=1,
            head_dim=8,
            moe_intermediate_size=8,
            shared_expert_intermediate_size=8,
            num_experts=2,
            num_experts_per_tok=1,
        )
    ),
    "MambaForCausalLM has linear_attention layers": lambda: MambaForCausalLM(
        MambaConfig(vocab_size=20, hidden_size=16, num_hidden_layers=2, state_size=4)
    ),
    "JambaForCausalLM has linear_attention layers": lambda: JambaForCausalLM(
        JambaConfig(
            **TINY,
            intermediate_size=16,
            num_key_value_heads=1,
            num_experts=2,
            attn_layer_period=2,
            attn_layer_offset=1,
        )
    ),
    "Layer 0 of FalconH1ForCausalLM runs FalconH1Mixer": lambda: FalconH1ForCausalLM(
        FalconH1Config(
            **TINY, intermediate_size=16, num_key_value_heads=1, mamba_d_ssm=16, mamba_n_heads=2, mamba_d_head=8
        )
    ),
    "built on Rwkv": lambda: RwkvForCausalLM(RwkvConfig(vocab_size=20, hidden_size=16, num_hidden_layers=2)),
    "encoder-decoder": lambda: T5ForConditionalGeneration(
        T5Config(vocab_size=20, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2)
    ),
    "slow_but_exact": lambda: BloomForCausalLM(
        BloomConfig(vocab_size=20, hidden_size=16, n_layer=2, n_head=2, slow_but_exact=True, pretraining_tp=2)
    ),
    "fused MultiheadAttention": _fused,
    "differ in their attention heads": _uneven,
    "Layer 2 .* no attention output projection": _bare,
    "no config": lambda: nn.Linear(2, 2),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_steered_is_refused_with_the_reason(reason: str):
    hf_model = REFUSED[reason]()
    with pytest.raises(UnsupportedModelError, match=f"(?i){reason}"):
        SteeredModel.of(hf_model)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in hf_model.modules())


def test_something_else_is_refused():
    with pytest.raises(UnsupportedModelError, match="str is not a Hugging Face model"):
        SteeredModel.of("a name")


def test_one_checkpoint_has_one_fingerprint():
    names = {dtype: model_fingerprint(build(dtype=dtype)) for dtype in (torch.float32, torch.float64, torch.bfloat16)}
    assert len(set(names.values())) == 1
    assert names[torch.float32] == SteeredModel.of(build()).fingerprint
    others = {model_fingerprint(build(seed=1)), model_fingerprint(build("qwen3"))}
    tuned = build()
    tuned.model.layers[1].self_attn.o_proj.weight.data += 0.1
    assert len({names[torch.float32], *others, model_fingerprint(tuned)}) == 4
