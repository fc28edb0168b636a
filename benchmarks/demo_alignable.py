"""How well the bundled model can be aligned: by prompt, by offsets, and in questionnaires.

    python -m benchmarks.demo_alignable            # writes benchmarks/results/demo_alignable.json

Chat: for each dimension 100 held-out questions are answered with the dimension high and low. A logistic regression on
words and pairs of words, trained on the generator's own replies and never on the model's, tells the two apart.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _report
from benchmarks.demo_on_topic import on_topic
from benchmarks.demo_questionnaire import questionnaire_errors
from persona_align import demo
from persona_align.conditioning import ica_line, pba_line
from persona_align.conditioning.layouts import earlier_messages_block, preferences_block, with_block
from persona_align.demo import load, shipped_basis
from persona_align.demo.corpus.replies import reply
from persona_align.demo.corpus.texts import DIMENSIONS, HELD_OUT, POLES, said, topics, varied
from persona_align.preferences import ALIGNX, PreferenceVector
from persona_align.records import Turn
from persona_align.steering import SteeredModel

MAX_TOKENS = 110
ROWS = 100
ARMS = ("pba", "ica", "ica_held_out_wording", "pas")
FEW = 30
"""Questions for what is only reported beside the main figures."""
VALUE = {"high": 0.9, "low": -0.9}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="folder of a trained model; the bundled one without it")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-chat", action="store_true")
    parser.add_argument("--no-questionnaire", action="store_true")
    parser.add_argument("--no-topics", action="store_true")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS, help="parts of the chat; all without it")
    options = parser.parse_args()
    model, tokenizer = load(options.model)
    results: dict[str, Any] = {}
    if not options.no_chat:
        results["chat"] = chat(model, tokenizer, options)
    if not options.no_topics:
        results["on_topic"] = on_topic(model, tokenizer, seed=options.seed)
    if not options.no_questionnaire:
        results["questionnaire"] = questionnaire_errors(model, tokenizer)
    if options.model is None:
        print(write(results, seed=options.seed))
    else:
        print(results)


def write(results: dict[str, Any], *, seed: int) -> Path:
    """Write the parts that were measured, and keep the other parts of an earlier run on the same weights."""
    weights = json.loads((Path(demo.__file__).parent / "model" / "checksums.json").read_text())["model.safetensors"]
    earlier = _report.RESULTS / "demo_alignable.json"
    kept = json.loads(earlier.read_text())["results"] if earlier.exists() else {}
    if kept.get("weights") != weights:
        kept = {}
    if "chat" in results and "chat" in kept:
        results = {**results, "chat": _merged(kept["chat"], results["chat"])}
    return _report.write("demo_alignable", {**kept, "weights": weights, **results}, seed=seed)


def _merged(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Two runs of different arms as one, down to the single figure."""
    both = {
        key: _merged(earlier[key], later[key]) for key in earlier.keys() & later.keys() if _tables(earlier, later, key)
    }
    return {**earlier, **later, **both}


def _tables(earlier: dict[str, Any], later: dict[str, Any], key: str) -> bool:
    return isinstance(earlier[key], dict) and isinstance(later[key], dict)


def chat(model: Any, tokenizer: Any, options: argparse.Namespace) -> dict[str, Any]:
    """The share of replies that a classifier puts on the right side, by arm and dimension."""
    asked = [question for topic in topics() for question in topic.held_out]
    questions = random.Random(options.seed).sample(asked, options.questions)
    steered = SteeredModel.of(model)
    basis = shipped_basis(model) if "pas" in options.arms else None
    base = generate(model, tokenizer, questions)
    perplexity = {"base": likelihood(model, tokenizer, questions, base)}
    arms: dict[str, dict[str, float]] = {arm: {} for arm in options.arms}
    steered_perplexity = []
    examples: dict[str, dict[str, str]] = {}
    for key in DIMENSIONS:
        judge = Judge(key)
        replies: dict[str, dict[str, list[str]]] = {arm: {} for arm in arms}
        for pole in POLES:
            for arm in replies:
                if arm == "pas":
                    continue
                rng = random.Random(f"{options.seed} {arm} {key} {pole}")
                prompts = [_prompt(arm, key, pole, question, rng) for question in questions]
                replies[arm][pole] = generate(model, tokenizer, prompts[:FEW] if "held_out" in arm else prompts)
            if basis is None:
                continue
            vector = PreferenceVector.of({key: 0.9})
            # The low pole is the high one's vector negated: what is shown is that the replies swap.
            offsets = _offsets(basis, key, vector if pole == "high" else -vector)
            if offsets is None:
                continue
            replies["pas"][pole] = generate(model, tokenizer, questions, steered, offsets)
            few = replies["pas"][pole][:FEW]
            steered_perplexity.append(likelihood(model, tokenizer, questions[:FEW], few))
        for arm, found in replies.items():
            if len(found) == len(POLES):
                arms[arm][key] = judge.share(found)
        examples[key] = {f"{arm}_{pole}": found[pole][0] for arm, found in replies.items() for pole in found}
        print(key, {arm: values.get(key) for arm, values in arms.items()}, flush=True)
    if steered_perplexity:
        perplexity["pas"] = float(np.exp(np.mean(np.log(steered_perplexity))))
        perplexity["ratio"] = perplexity["pas"] / perplexity["base"]
        perplexity["worst_ratio"] = max(steered_perplexity) / perplexity["base"]
    return {
        "questions": len(questions),
        "told_apart": {arm: _summary(values) for arm, values in arms.items() if values},
        "steered_to_one_pole_only": [key for key in DIMENSIONS if ALIGNX[key].condition_on != "both"],
        "perplexity_under_the_unsteered_model": perplexity,
        "examples": examples,
    }


def _prompt(arm: str, key: str, pole: str, question: str, rng: random.Random) -> str:
    if arm == "pba":
        return told(key, pole, question)
    return shown(key, pole, question, rng, only_held_out=arm == "ica_held_out_wording")


def told(key: str, pole: str, question: str) -> str:
    vector = PreferenceVector.of({key: VALUE[pole]})
    return with_block(preferences_block([pba_line(vector[key])]), question)


def shown(key: str, pole: str, question: str, rng: random.Random, *, only_held_out: bool = False) -> str:
    """Six shown turns: four in wordings known from training and two anchor statements that were held out.

    With `only_held_out`, the two held-out statements among four questions that show nothing.
    """
    dimension = ALIGNX[key]
    anchors = list(dimension.high_statements if pole == "high" else dimension.low_statements)[-HELD_OUT:]
    if only_held_out:
        others = [rng.choice(rng.choice(topics()).asked) for _ in range(4)]
    else:
        others = [varied(rng.choice(said(key, pole)), rng) for _ in range(4)]
    texts = [*anchors, *others]
    rng.shuffle(texts)
    return with_block(earlier_messages_block([ica_line(Turn(role="user", text=text)) for text in texts]), question)


class Judge:
    """Tells the high from the low pole of a dimension, having read the generator's replies only."""

    def __init__(self, key: str, examples: int = 1200) -> None:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        rng = random.Random(f"judge {key}")
        texts, labels = [], []
        for _ in range(examples):
            topic = rng.choice(topics())
            for pole in POLES:
                texts.append(reply(topic, {key: pole}, rng))
                labels.append(pole)
        words = CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=r"[^\W_]+|[!?)]")
        self.pipeline = make_pipeline(words, LogisticRegression(max_iter=1000, C=1.0))
        self.pipeline.fit(texts, labels)

    def share(self, replies: dict[str, list[str]]) -> float:
        right = [self.pipeline.predict(replies[pole]) == pole for pole in POLES]
        return round(float(np.mean(right)), 4)


def generate(model: Any, tokenizer: Any, prompts: list[str], steered: Any = None, offsets: Any = None) -> list[str]:
    """Greedy replies to single messages."""
    import torch

    found = []
    for start in range(0, len(prompts), ROWS):
        chats = [[{"role": "user", "content": prompt}] for prompt in prompts[start : start + ROWS]]
        batch = tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, return_tensors="pt", padding=True, return_dict=True
        )
        settings = {"max_new_tokens": MAX_TOKENS, "do_sample": False}
        with torch.no_grad():
            if steered is None:
                out = model.generate(**batch, **settings)
            else:
                with steered.plan([offsets] * len(chats)):
                    out = model.generate(**batch, **settings)
        found += tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return found


def likelihood(model: Any, tokenizer: Any, questions: list[str], replies: list[str]) -> float:
    """Perplexity of replies to questions, under the model as it is."""
    import torch

    total, count = 0.0, 0
    for question, answer in zip(questions, replies, strict=True):
        turns = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        ids = prompt + tokenizer(answer + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, len(prompt) - 1 : -1]
        target = torch.tensor(ids[len(prompt) :])
        total += float(torch.nn.functional.cross_entropy(logits, target, reduction="sum"))
        count += len(target)
    return float(np.exp(total / count))


def _offsets(basis: Any, key: str, vector: PreferenceVector) -> Any:
    if key not in basis.dimensions:
        return None
    return basis.offsets(vector)


def _summary(values: dict[str, float]) -> dict[str, Any]:
    return {"mean": round(float(np.mean(list(values.values()))), 4), "worst": min(values.values()), **values}


if __name__ == "__main__":
    main()
