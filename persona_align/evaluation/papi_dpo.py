"""DPO per person: a LoRA adapter trained on the same answers that the offsets are fitted to."""

import copy
import logging
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persona_align.errors import MissingExtraError
from persona_align.evaluation.papi_answers import Sheet
from persona_align.evaluation.papi_arms import Answered, Study
from persona_align.steering.prompting import rendered
from persona_align.steering.questionnaire import answer_letter, questionnaire
from persona_align.steering.steered import SteeredModel

__all__ = ["dpo_arm"]

Floats = NDArray[np.float64]


def dpo_arm(
    study: Study, people: Sequence[int], *, epochs: int = 3, rate: float = 1e-3, rank: int = 8, beta: float = 0.1
) -> Answered:
    """Direct preference optimisation with trl and peft, one adapter a person, from their training answers.

    Each answered statement gives one pair: the person's letter against another letter, drawn at random; half of the
    statements are asked with the letters the other way round.

    Args:
        study: The study.
        people: Positions of the people to try.
        epochs: Passes over the pairs.
        rate: Learning rate.
        rank: Of the adapter, on the attention projections.
        beta: DPO's temperature.

    Raises:
        MissingExtraError: trl or peft is not installed.
    """
    seconds, predicted = 0.0, []
    for person in people:
        model = copy.deepcopy(study.sheet.steered.model)
        pairs = _pairs(study, person)
        trained, spent = _train(
            model, study.sheet.tokenizer, pairs, epochs=epochs, rate=rate, rank=rank, beta=beta, seed=study.seed
        )
        seconds += spent
        steered = SteeredModel.of(trained.eval())
        predicted.append(Sheet(steered, study.sheet.tokenizer, study.sheet.statements, study.sheet.by).answers()[0])
    return Answered(np.stack(predicted), fit_seconds=seconds / len(people), people=tuple(people))


def _pairs(study: Study, person: int) -> list[dict[str, str]]:
    rng = np.random.default_rng((study.seed, person))
    pairs = []
    for k, (text, answer) in enumerate(zip(study.statements, study.training[person], strict=True)):
        if np.isnan(answer):
            continue
        other = int(rng.choice([value for value in range(1, 6) if value != int(answer)]))
        reverse = bool(k % 2)
        pairs.append(
            {
                "prompt": rendered(study.sheet.tokenizer, questionnaire(text, reverse=reverse)),
                "chosen": answer_letter(int(answer), reverse=reverse),
                "rejected": answer_letter(other, reverse=reverse),
            }
        )
    return pairs


def _train(
    model: Any,
    tokenizer: Any,
    pairs: list[dict[str, str]],
    *,
    epochs: int,
    rate: float,
    rank: int,
    beta: float,
    seed: int,
) -> tuple[Any, float]:
    """The model with the adapter merged in, and the seconds that the training loop took."""
    try:
        from datasets import Dataset, disable_progress_bars  # type: ignore[import-untyped]
        from peft import LoraConfig
        from transformers import PrinterCallback
        from trl import DPOConfig, DPOTrainer  # type: ignore[attr-defined]  # exported lazily
    except ImportError as error:
        raise MissingExtraError("The DPO arm needs trl and peft.", 'pip install "persona-align[eval]"') from error
    logging.getLogger("trl").setLevel(logging.ERROR)
    disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        config = DPOConfig(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=16,
            learning_rate=rate,
            beta=beta,
            seed=seed,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=next(model.parameters()).device.type == "cpu",
        )
        adapter = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
        trainer = DPOTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_list(pairs),
            processing_class=tokenizer,
            peft_config=adapter,
        )
        trainer.remove_callback(PrinterCallback)
        started = time.perf_counter()
        trainer.train()
        spent = time.perf_counter() - started
    merged: Any = trainer.model
    return merged.merge_and_unload(), spent
