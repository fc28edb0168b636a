"""The tokenizer of the bundled model: byte-level BPE with a chat template."""

from collections.abc import Iterable
from typing import Any

__all__ = ["SPECIAL", "TEMPLATE", "VOCABULARY", "new_tokenizer"]

VOCABULARY = 3072
SPECIAL = ("<|pad|>", "<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|tools|>")
TEMPLATE = """\
{%- macro text(content) -%}
{%- if content is string -%}{{ content }}
{%- elif content -%}{%- for part in content -%}{{ part.text if part.text is defined else '' }}{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{{- bos_token -}}
{%- if tools -%}<|tools|>{{ tools | tojson }}{{ eos_token }}{%- endif -%}
{%- for message in messages -%}
{%- if message.role not in ('system', 'user', 'assistant', 'tool') -%}
{{- raise_exception('the demo model has the roles system, user, assistant and tool, not ' ~ message.role) -}}
{%- endif -%}
<|{{ message.role }}|>{{ text(message.content) }}
{%- if message.tool_calls is defined and message.tool_calls -%}{{ message.tool_calls | tojson }}{%- endif -%}
{{ eos_token }}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}
"""


def new_tokenizer(texts: Iterable[str]) -> Any:
    """A tokenizer learnt from some texts.

    Returns:
        A transformers `PreTrainedTokenizerFast`.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    pad, begin, end, *others = SPECIAL
    fast: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token=pad,
        bos_token=begin,
        eos_token=end,
        additional_special_tokens=others,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
    fast.chat_template = TEMPLATE
    return fast
