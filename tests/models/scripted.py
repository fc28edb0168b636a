"""A causal language model that writes what a script says: a real `generate`, with replies known beforehand."""

from collections.abc import Callable

import torch
from torch import nn
from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput


class ScriptedConfig(PretrainedConfig):
    model_type = "scripted"
    max_position_embeddings = 8192


class ScriptedModel(PreTrainedModel, GenerationMixin):
    """Whatever stands before the last `<|assistant|>` is the prompt; `script` maps it to the reply."""

    config_class = ScriptedConfig

    def __init__(self, tokenizer, script: Callable[[str], str]) -> None:
        super().__init__(ScriptedConfig(vocab_size=len(tokenizer)))
        self.anchor = nn.Parameter(torch.zeros(1))
        self.tokenizer, self.script = tokenizer, script
        self.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=0, use_cache=False)

    def forward(self, input_ids, attention_mask=None, **kwargs):
        logits = torch.zeros(*input_ids.shape, self.config.vocab_size)
        opening = self.tokenizer.convert_tokens_to_ids("<|assistant|>")
        for row, ids in enumerate(input_ids.tolist()):
            start = len(ids) - ids[::-1].index(opening)
            wanted = self.tokenizer(self.script(self.tokenizer.decode(ids[:start])))["input_ids"]
            written = len(ids) - start
            token = wanted[written] if written < len(wanted) else self.tokenizer.eos_token_id
            logits[row, -1, token] = 9.0
        return CausalLMOutput(logits=logits)

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, **kwargs):
        return {"input_ids": input_ids, "attention_mask": attention_mask}
