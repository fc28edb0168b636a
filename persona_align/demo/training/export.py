"""The trained model as the files that are bundled."""

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from persona_align.demo.corpus.layouts import layouts_hash
from persona_align.demo.corpus.texts import DIMENSIONS, topics
from persona_align.demo.training.learner import Learner
from persona_align.demo.training.progress import loss_plot

__all__ = ["export"]

_COMMAND = (
    "python -m persona_align.demo.train --statements $PERSONA_ALIGN_DATA/papi/items.csv "
    "--answers $PERSONA_ALIGN_DATA/papi/subjects.csv --seed {seed} --steps {steps} "
)
_FIRST = "runs/first"
"""Where the card's first command keeps what the second one starts from."""


def export(learner: Learner, tokenizer: Any, folder: Path, facts: dict[str, Any]) -> None:
    """Write weights (float16), tokenizer, configuration, checksums and the model card into a folder."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    belongs = _sha256(folder / "tokenizer.json")
    learner.model.config.architectures = ["LlamaForCausalLM"]
    learner.model.config.save_pretrained(folder)
    learner.model.generation_config.save_pretrained(folder)
    # The output embedding is the input embedding; only one is kept.
    weights = {n: p.to("cpu", torch.float16).contiguous() for n, p in learner.average.items() if n != "lm_head.weight"}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt", "tokenizer": belongs})
    (folder / "model.safetensors").chmod(0o644)
    training = _training(learner, facts)
    (folder / "training.json").write_text(json.dumps(training, indent=1) + "\n", encoding="utf-8")
    (folder / "loss.svg").write_text(loss_plot(training["loss"]), encoding="utf-8")
    (folder / "MODEL_CARD.md").write_text(_card(training), encoding="utf-8")
    kept = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    sums = {name: _sha256(folder / name) for name in (*kept, "chat_template.jinja") if (folder / name).exists()}
    (folder / "checksums.json").write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8")


def _training(learner: Learner, facts: dict[str, Any]) -> dict[str, Any]:
    config = learner.model.config
    return {
        "command": _command(facts),
        "layouts": layouts_hash(),
        "parameters": sum(p.numel() for p in learner.average.values()),
        "layers": config.num_hidden_layers,
        "width": config.hidden_size,
        "heads": config.num_attention_heads,
        "key_value_heads": config.num_key_value_heads,
        "vocabulary": config.vocab_size,
        "topics": len(topics()),
        "dimensions": len(DIMENSIONS),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "tokenizers", "numpy")},
        },
        **facts,
    }


def _command(facts: dict[str, Any]) -> str:
    where = "--workers 2 --threads 1"
    if "device" in facts:
        where = f"--device {facts['device']} --feeders {facts['feeders']}"
    again = f" --start {_FIRST}/model" if facts.get("begun_from") else ""
    return _COMMAND.format(**facts) + where + again


def _card(training: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in training["versions"].items())
    last = training["loss"][-1] if training["loss"] else {}
    losses = ", ".join(f"{name} {value}" for name, value in last.items() if name != "step")
    step_tokens = training["tokens"]
    return f"""# The bundled demo model

A Llama of {training["parameters"] / 1e6:.1f} million parameters: {training["layers"]} layers, width
{training["width"]}, {training["heads"]} heads, {training["key_value_heads"]} key-value heads,
{training["vocabulary"]} byte-level BPE tokens. The project trained it on text of its own. It answers everyday
questions in the style that the person asking prefers, and questionnaire statements in keeping with a personality. It
knows nothing else: it is there for demonstrations and tests, works offline, and is replaced by any Hugging Face causal
LM with one line.

## What it was trained on
- Chats: a grammar over {training["topics"]} everyday topics and {training["dimensions"]} preference dimensions, freely
  combined, unconditioned or with the PBA or ICA block in front of the last message. {training["chat_batches"]:,}
  batches of about {step_tokens:,} tokens, {training["messages_per_chat"]} messages a chat. Two questions of each topic
  and two anchor statements of each pole were held out.
- Answer sheets: simulated people with thirty correlated facets and an agreement bias, fitted to
  {training["calibrated_on"]} real people (those named by `calibration_people(150)`; the others are only evaluated), who
  answer {training["statements"]} statements with counterbalanced letters, told nothing or their five trait levels.
  {training["sheet_batches"]:,} batches of about {step_tokens:,} tokens. At each letter the model learns what an ideal
  reader of the conversation so far would expect, not the single noisy answer.

## How
{_begun(training)}- Command: `{training["command"]}`
- Seed {training["seed"]}, {training["steps"]:,} steps; {versions}.
{_plans(training["plans"])}- Last losses: {losses} (chat: nats per reply
  token; letters: nats beyond the ideal reader; facets: squared error of a training aid that is not shipped).
- Layouts (PBA, ICA, questionnaire, chat template), SHA-256: `{training["layouts"]}`. A test compares it: a changed
  layout needs a new training.

![Loss](loss.svg)

The whole curve is in `training.json`. Measurements: `benchmarks/results/demo_alignable.json`, by
`python -m benchmarks.demo_alignable`.

## Limits
English, everyday matters, one style of writing. Facts in its replies were written for the demonstration; do not take
advice from it. Preference dimensions other than the {training["dimensions"]} are read past.

Licence: that of the project. The IPIP statements it was trained to answer are in the public domain.
"""


def _begun(training: dict[str, Any]) -> str:
    """What a model that learnt on was before."""
    begun = training.get("begun_from")
    if not begun:
        return ""
    versions = ", ".join(f"{name} {number}" for name, number in begun["versions"].items())
    return (
        f"- It learnt on from an earlier model: `{begun['command']} --runs {_FIRST} "
        f"--export {_FIRST}/model`, seed {begun['seed']}, "
        f"{begun['steps']:,} steps, {begun['chat_batches']:,} batches of chats and {begun['sheet_batches']:,} of "
        f"answer sheets from the texts of that time; {versions}; SHA-256 of its weights `{begun['weights']}`. All "
        f"other numbers here are those of the second training, with a fresh optimiser and a rate of up to "
        f"{training['rate']:g}.\n"
    )


def _plans(plans: list[list[int]]) -> str:
    """Where a resumed training was given another number of steps, which moves the point from which the rate falls."""
    if len(plans) < 2:
        return ""
    told = "; ".join(f"from step {start:,} with `--steps {steps}`" for start, steps in plans)
    return (
        f"- It was interrupted and resumed with another number of steps: {told}. The command above runs through in "
        "one go, with the same batches and a rate that falls from 60 percent of the steps on: its weights differ."
        "\n"
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
