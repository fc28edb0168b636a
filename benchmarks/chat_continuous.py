"""Does per-user steering ride on transformers' continuous batching? A trial with a per-token map of offsets.

The manager packs all requests into one row, [1, tokens]. Hooks read which request every token belongs to and add that
user's contribution. Run: python -m benchmarks.chat_continuous
"""

import argparse
import time
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.generation import ContinuousBatchingConfig

from benchmarks import _report
from benchmarks._chat import QUESTIONS, bundled, random_users
from persona_align.models import ChatTransformers
from persona_align.steering import SteeredModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=16)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    chat = bundled(max_tokens=args.max_tokens)
    users = random_users(chat, args.users, args.seed, scale=0.3)
    results = {
        "users": args.users,
        "same_prompt": _trial(chat, users, [" ".join(QUESTIONS)] * args.users),
        "different_prompts": _trial(chat, users, [f"{i}. {QUESTIONS[i % 4]}" for i in range(args.users)]),
    }
    print(_report.write("chat_continuous", results, seed=args.seed).read_text(encoding="utf-8"))


def _trial(chat: ChatTransformers, users: list[Any], questions: list[str]) -> dict[str, Any]:
    attention = chat.model.config._attn_implementation
    prompts = [_ids(chat, question) for question in questions]
    started = time.perf_counter()
    expected = [_alone(chat, prompt, offsets) for prompt, offsets in zip(prompts, users, strict=True)]
    seconds: dict[str, float] = {"one_after_another": time.perf_counter() - started}
    found: dict[str, Any] = {}
    for name, sharing in (("prefixes_shared", True), ("nothing_shared", False)):
        started = time.perf_counter()
        written = _continuous(chat, prompts, users, sharing=sharing)
        seconds[name] = time.perf_counter() - started
        found[name] = {"right": sum(a == b for a, b in zip(written, expected, strict=True)), "of": len(expected)}
        chat.model.set_attn_implementation(attention)
    started = time.perf_counter()
    chat.generate_rows(questions, offsets=users)
    seconds["generate_rows"] = time.perf_counter() - started
    return {**found, "seconds": {name: round(value, 2) for name, value in seconds.items()}}


def _ids(chat: ChatTransformers, question: str) -> list[int]:
    turns = [{"role": "user", "content": question}]
    return list(chat.tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"])


def _settings(chat: ChatTransformers) -> GenerationConfig:
    return GenerationConfig(
        max_new_tokens=chat.max_tokens, do_sample=False, eos_token_id=chat.tokenizer.eos_token_id, pad_token_id=0
    )


def _alone(chat: ChatTransformers, prompt: list[int], offsets: Any) -> list[int]:
    ids = torch.tensor([prompt])
    with SteeredModel.of(chat.model).plan([offsets]):
        written = chat.model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=_settings(chat))
    return list(written[0, len(prompt) :].tolist())


def _continuous(
    chat: ChatTransformers, prompts: list[list[int]], users: list[Any], *, sharing: bool
) -> list[list[int]]:
    """Generated tokens of every request, by the manager, with hooks that steer every token by its request."""
    model = chat.model
    projections = [layer.self_attn.o_proj for layer in model.model.layers]
    table = torch.stack(  # [users, layers, width]
        [
            torch.stack([p(torch.tensor(u.values[i]).flatten().to(p.weight)) for i, p in enumerate(projections)])
            for u in users
        ]
    ).detach()
    owner: dict[str, torch.Tensor] = {}
    with model.continuous_batching_context_manager(
        generation_config=_settings(chat),
        continuous_batching_config=ContinuousBatchingConfig(
            allow_block_sharing=sharing, page_size=16, num_blocks=1024, max_batch_tokens=512, use_cuda_graph=False
        ),
        block=True,
        timeout=30,
    ) as manager:

        def map_tokens(_: Any, __: Any, kwargs: Any) -> None:
            packed = manager.batch_processor.inputs_and_outputs
            owners = [
                int(future.state.request_id) for future in packed.requests_in_batch for _ in range(future.query_length)
            ]
            length = kwargs["input_ids"].shape[1]
            owner["of"] = torch.tensor(owners + [0] * (length - len(owners)))  # the rest is padding

        def steer(layer: int) -> Any:
            return lambda _, __, output: output + table[owner["of"], layer]

        handles = [model.register_forward_pre_hook(map_tokens, with_kwargs=True)]
        handles += [p.register_forward_hook(steer(i)) for i, p in enumerate(projections)]
        try:
            for index, prompt in enumerate(prompts):
                manager.add_request(prompt, request_id=str(index), max_new_tokens=chat.max_tokens)
            written: dict[int, list[int]] = {}
            while len(written) < len(prompts):
                result = manager.get_result(timeout=30)
                if result is None:
                    raise RuntimeError("the manager fell silent")
                if result.is_finished():
                    written[int(result.request_id)] = list(result.generated_tokens)
        finally:
            for handle in handles:
                handle.remove()
    return [written[index] for index in range(len(prompts))]


if __name__ == "__main__":
    main()
