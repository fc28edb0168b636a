"""Train the bundled model: `python -m persona_align.demo.train`, which may be interrupted and goes on where it was.

Statements come from the file named with `--statements` (the columns of an items.csv), and the population of simulated
people is fitted to the calibration half of the real people in `--answers`; without them our own statements and a usual
population are used. With `--start` a trained model learns on, with its own tokenizer and a fresh optimiser.
"""

import argparse
import json
import os
import random
import shutil
import sys
import time
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from persona_align.demo.bundle import load
from persona_align.demo.corpus.chats import chat
from persona_align.demo.corpus.encoding import Encoder
from persona_align.demo.corpus.people import Population, calibration_people
from persona_align.demo.corpus.statements import Statement, read_answers, read_statements
from persona_align.demo.network import new_model
from persona_align.demo.tokens import new_tokenizer
from persona_align.demo.training.batches import chat_batches, sheet_batches
from persona_align.demo.training.export import export
from persona_align.demo.training.feeding import fed
from persona_align.demo.training.learner import Learner
from persona_align.demo.training.progress import Progress
from persona_align.demo.training.team import Team
from persona_align.errors import PersonaAlignError

__all__ = ["main", "train"]

STEPS = 4000
TOKENS = 2048
"""Tokens of a batch; on a GPU, which hardly notices them, `TOKENS_GPU`."""
TOKENS_GPU = 32768
BATCHES = 2
"""Batches of chats in a step and, once the model can chat a little, of answer sheets; one of each on a GPU."""
SHEETS_FROM = 500
"""The step from which answer sheets are learnt; before it they come every `SHEETS_SELDOM` steps."""
SHEETS_SELDOM = 5
RATE, RATE_AGAIN = 3e-3, 2e-3
"""The learning rate of a new model, and of one that learns on."""


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m persona_align.demo.train", description=__doc__)
    parser.add_argument("--statements", type=Path, help="CSV file of statements; our own without it")
    parser.add_argument("--answers", type=Path, help="CSV file of real answers that calibrates the simulated people")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--start", type=Path, help="folder of a trained model that is to learn on; a new one without it"
    )
    parser.add_argument("--workers", type=int, choices=(1, 2), default=1, help="processes that train together")
    parser.add_argument("--threads", type=int, default=0, help="threads of each process; 0 leaves it to torch")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for a GPU, which takes larger batches")
    parser.add_argument("--feeders", type=int, default=0, help="processes that write batches beside the training")
    parser.add_argument("--runs", type=Path, default=Path("runs/demo"), help="where checkpoints and the log are kept")
    parser.add_argument("--export", type=Path, default=Path(__file__).parent / "model", help="where the model is put")
    parser.add_argument("--export-only", action="store_true", help="export the last checkpoint without training")
    options = parser.parse_args(arguments)
    try:
        _together(options)
    except PersonaAlignError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted: the same command goes on from the last checkpoint.\n")
        return 130
    return 0


def train(
    *,
    statements: Path | None,
    answers: Path | None,
    steps: int,
    seed: int,
    threads: int,
    runs: Path,
    export: Path,
    export_only: bool = False,
    start: Path | None = None,
    device: str = "cpu",
    feeders: int = 0,
    tokens: int | None = None,
    save_every: int | None = None,
    team: Team | None = None,
) -> None:
    """Train up to `steps`, from the last checkpoint in `runs` if there is one, and export the model.

    Args:
        statements: CSV file of questionnaire statements, or None for our own.
        answers: CSV file of real people's answers, or None for a usual population.
        steps: Steps in all; the rate comes to rest over the last 40 percent of them.
        seed: Of every choice.
        threads: Processor threads; 0 leaves it to torch.
        runs: Folder of checkpoints and the log.
        export: Folder that the model is put into.
        export_only: Whether to export the last checkpoint as it is.
        start: Folder of a trained model that is to learn on, or None for a new one.
        device: Where the model learns.
        feeders: Processes that write batches; 0 writes them between the steps.
        tokens: Tokens of one batch; as the device likes them by default.
        save_every: Steps between checkpoints; 100, on a GPU 1000.
        team: The processes that train together; this one alone by default.

    Raises:
        PersonaAlignError: A file cannot be read, the model to start from is damaged, or the checkpoint belongs to
            another setting.
    """
    import torch

    team = team or Team()
    on_gpu = device != "cpu"
    tokens = tokens or (TOKENS_GPU if on_gpu else TOKENS)
    save_every = save_every or (1000 if on_gpu else 100)
    if threads:
        torch.set_num_threads(threads)
    runs.mkdir(parents=True, exist_ok=True)
    asked = read_statements(statements)
    population, calibrated_on = _population(asked, answers)
    model, tokenizer, begun = _begin(runs, asked, seed, start)
    encoder = Encoder(tokenizer)
    rate = RATE_AGAIN if begun else RATE
    learner = Learner(model.to(device), letters=encoder.letters, steps=steps, rate=rate)
    setting: dict[str, Any] = {"seed": seed, "tokens": tokens, "statements": len(asked), "calibrated_on": calibrated_on}
    setting |= {"device": device, "feeders": feeders} if on_gpu or feeders else {}
    setting |= {"begun_from": begun["weights"]} if begun else {}
    history, plans = _resume(runs / "checkpoint.pt", learner, setting)
    if not export_only and (not plans or plans[-1][1] != steps):
        plans.append([learner.step, steps])
    with Progress(runs / "log.jsonl", history, steps=steps, leads=team.rank == 0) as progress:
        talk = partial(chat_batches, encoder, tokens)
        fill = partial(sheet_batches, encoder, population, asked, tokens)
        third = feeders // 3  # sheets are written faster than chats
        chats = team.own(fed(talk, seed=seed, skip=learner.chats_seen, processes=feeders - third))
        sheets = team.own(fed(fill, seed=seed, skip=learner.sheets_seen, processes=third))
        each = 1 if on_gpu else BATCHES // team.workers
        while learner.step < steps and not export_only:
            started = time.monotonic()
            few_sheets = list(islice(sheets, each)) if _answering(learner.step, bool(begun)) else []
            losses = learner.learn(list(islice(chats, each)), few_sheets, team)
            progress.add(learner.step, losses, seconds=time.monotonic() - started)
            if team.rank == 0 and (learner.step % save_every == 0 or learner.step == steps):
                kept = {"setting": setting, "log": progress.history, "plans": plans}
                learner.save(runs / "checkpoint.pt", {name: json.dumps(value) for name, value in kept.items()})
    team.leave()
    if team.rank == 0:
        facts = {**setting, "rate": rate, "begun_from": begun, "plans": plans, "loss": progress.history}
        _export(learner, tokenizer, facts, export)


def _together(options: argparse.Namespace) -> None:
    """Train in this process, or in several that meet over a file."""
    chosen = vars(options)
    workers = chosen.pop("workers")
    if workers == 1 or options.export_only:
        train(**chosen)
        return
    from torch.multiprocessing.spawn import spawn

    options.runs.mkdir(parents=True, exist_ok=True)
    _begin(options.runs, read_statements(options.statements), options.seed, options.start)
    meeting = options.runs.resolve() / f"meeting-{os.getpid()}"
    spawn(_member, (workers, str(meeting), chosen), nprocs=workers)  # type: ignore[no-untyped-call]
    meeting.unlink(missing_ok=True)


def _member(rank: int, workers: int, meeting: str, chosen: dict[str, Any]) -> None:
    train(**chosen, team=Team(rank, workers, meeting))


def _population(asked: list[Statement], answers: Path | None) -> tuple[Population, int]:
    if answers is None:
        return Population.usual(asked), 0
    everyone = read_answers(answers, asked)
    chosen = calibration_people(len(everyone))
    return Population.calibrated(asked, [everyone[i] for i in chosen]), len(chosen)


def _answering(step: int, again: bool) -> bool:
    """Whether a step has answer sheets, as all have of a model that learns on."""
    return again or step >= SHEETS_FROM or step % SHEETS_SELDOM == 0


def _begin(runs: Path, asked: list[Statement], seed: int, start: Path | None) -> tuple[Any, Any, dict[str, Any]]:
    """A model in float32, its tokenizer, and where it comes from if it was trained before.

    The model to start from is kept in the run, so that an interrupted training goes on when it was replaced since.
    """
    if start is None:
        tokenizer = _tokenizer(runs, asked, seed)
        return new_model(len(tokenizer), seed=seed), tokenizer, {}
    kept = runs / "start"
    if not kept.is_dir():
        load(start)
        part = runs / "start.part"
        shutil.copytree(start, part, dirs_exist_ok=True)
        part.replace(kept)
    model, tokenizer = load(kept)
    facts = json.loads((kept / "training.json").read_text(encoding="utf-8"))
    weights = json.loads((kept / "checksums.json").read_text(encoding="utf-8"))["model.safetensors"]
    names = ("command", "steps", "seed", "chat_batches", "sheet_batches", "versions")
    return model.train(), tokenizer, {"weights": weights, **{name: facts[name] for name in names}}


def _tokenizer(runs: Path, asked: list[Statement], seed: int) -> Any:
    """The tokenizer of this run: learnt once and kept, since every later step depends on it."""
    from transformers import PreTrainedTokenizerFast

    folder = runs / "tokenizer"
    if folder.is_dir():
        return PreTrainedTokenizerFast.from_pretrained(folder)
    rng = random.Random(f"{seed} tokens")
    texts = [message["content"] for _ in range(25_000) for message in chat(rng).messages]
    texts += [f"Statement: {s.text}" for s in read_statements()] * 20
    texts += [f"Statement: {s.text}" for s in asked] * 300
    tokenizer = new_tokenizer(texts)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _resume(path: Path, learner: Learner, setting: dict[str, Any]) -> tuple[list[dict[str, float]], list[list[int]]]:
    """The losses so far, and from which step on how many steps were planned."""
    if not path.exists():
        return [], []

    def accept(extra: dict[str, Any]) -> None:
        if json.loads(extra["setting"]) != setting:
            raise PersonaAlignError(
                f"{path} was made with {extra['setting']}, not with {json.dumps(setting)}.",
                "Name another folder with --runs, or use the same seed and files.",
            )

    extra = learner.load(path, accept)
    return list(json.loads(extra["log"])), list(json.loads(extra.get("plans", "[]")))


def _export(learner: Learner, tokenizer: Any, facts: dict[str, Any], folder: Path) -> None:
    rng = random.Random(0)
    lengths = [len(chat(rng).messages) for _ in range(1000)]
    export(
        learner,
        tokenizer,
        folder,
        {
            **facts,
            "steps": learner.step,
            "chat_batches": learner.chats_seen,
            "sheet_batches": learner.sheets_seen,
            "messages_per_chat": round(float(np.mean(lengths)), 2),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
