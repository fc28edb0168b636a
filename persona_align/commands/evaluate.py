"""`persona-align eval`: the benchmarks, each with the trivial baselines beside it."""

import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from persona_align.commands.console import hush, note, print_json, progress, screen
from persona_align.commands.options import AsJson, Encoder
from persona_align.errors import MissingExtraError, PersonaAlignError

__all__ = ["evaluate"]

evaluate = typer.Typer(
    no_args_is_help=True,
    help="Run a benchmark, with trivial baselines and bootstrap intervals beside it.\n\n"
    "The data is not shipped: --data or PERSONA_ALIGN_DATA names its folder, which holds psoups/, prefeval/, papi/.\n\n"
    "Example: persona-align eval psoups --data DIR --output results",
)

_Data = Annotated[
    Path,
    typer.Option("--data", envvar="PERSONA_ALIGN_DATA", metavar="DIR", help="The folder of public benchmark data."),
]
_Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Write every case as JSON, and a figure, into this folder."),
]
_Model = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="Add the arms of a language model, by hub name or folder."),
]
_People = Annotated[int | None, typer.Option("--people", min=1, help="Take only so many people.")]
_Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Take only so many cases of each file.")]
_Seed = Annotated[int, typer.Option("--seed", help="Of every random choice.")]
_DEFAULT_DATA = Path("../shared/data")
_TOLD = 6
"""A longer list is a list of cases: counted on the screen, whole in the files."""


@evaluate.command()
def psoups(
    data: _Data = _DEFAULT_DATA,
    output: _Output = None,
    model: _Model = None,
    limit: _Limit = None,
    seed: _Seed = 0,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """P-Soups: rank a fifth pair of replies after four comparisons.

    Arms: the user's own comparisons, no user at all, another user's, and those of a user of the opposite persona. What
    own gains over no user is the personalisation. Beside them: random, the longer answer, final-layer cosine.
    """
    _run("psoups", data, as_json, output=output, model=model, limit=limit, seed=seed, encoder=encoder)


@evaluate.command()
def prefeval(
    data: _Data = _DEFAULT_DATA,
    output: _Output = None,
    limit: _Limit = None,
    seed: _Seed = 0,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """PrefEval: does the message that bears the preference come back for a later question, among 300 distractors?"""
    _run("prefeval", data, as_json, output=output, limit=limit, seed=seed, encoder=encoder)


@evaluate.command()
def papi(
    data: _Data = _DEFAULT_DATA,
    output: _Output = None,
    model: _Model = None,
    people: _People = None,
    seed: _Seed = 0,
    as_json: AsJson = False,
) -> None:
    """PAPI: answer 180 questions as a person would, aligned by their answers to 120 others.

    On correctly keyed data, with the baselines that need no model (always C, the items' medians, the person's mean).
    """
    _run("papi", data, as_json, output=output, model=model, people=people, seed=seed)


@evaluate.command()
def papi_chat(
    data: _Data = _DEFAULT_DATA,
    output: _Output = None,
    people: _People = None,
    seed: _Seed = 0,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """PAPI as chat: read the five traits from a person's answers, put into first-person chat sentences."""
    _run("papi_chat", data, as_json, output=output, people=people, seed=seed, encoder=encoder)


@evaluate.command()
def alignx(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Cases in AlignX's format: AlignX-test, UF-P-4, PRISM or P-Soups.")
    ],
    output: _Output = None,
    model: _Model = None,
    limit: _Limit = None,
    seed: _Seed = 0,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """AlignX: how often the chosen reply is ranked above the rejected one, after each case's own history.

    With --model also the log-probability accuracy of ICA, PBA and PAS, as in AlignX's Table 3.
    """
    _run("alignx", file, as_json, output=output, model=model, limit=limit, seed=seed, encoder=encoder)


def _run(name: str, data: Path, as_json: bool, **options: Any) -> None:
    if not data.exists():
        raise PersonaAlignError(
            f"There is no benchmark data at {data}.", "Name its folder with --data or PERSONA_ALIGN_DATA."
        )
    hush(options.get("model"), options.get("encoder"))
    output = options["output"]
    run, figure = _benchmark(name)
    taken = inspect.signature(run).parameters
    with _watching(taken) as hooks:
        try:
            result = run(data, **hooks, **{option: value for option, value in options.items() if option in taken})
        except FileNotFoundError as error:
            raise PersonaAlignError(
                f"{data} does not hold the data of this benchmark: there is no {error.filename}.",
                "Name the folder that holds psoups/, prefeval/ and papi/ with --data or PERSONA_ALIGN_DATA.",
            ) from None
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        if "output" not in taken:
            text = json.dumps(result, indent=1, ensure_ascii=False, default=str)
            (output / f"{name}.json").write_text(text, encoding="utf-8")
        if figure is not None and "output" not in taken:
            figure(result, output / f"{name}.svg")
        note(f"Every case is in {output}.")
    if as_json:
        print_json(json.loads(json.dumps(result, default=str)))
    else:
        _tell(result)


def _benchmark(name: str) -> tuple[Any, Any]:
    """A benchmark's `run`, and its `figure` where it has one."""
    try:
        module = import_module(f"persona_align.evaluation.{name}")
    except ImportError as error:
        if (error.name or "").startswith("persona_align"):
            raise
        raise MissingExtraError(
            f"This benchmark needs {error.name}.", "Install it with `pip install 'persona-align[eval]'`."
        ) from None
    return module.run, getattr(module, "figure", None)


@contextmanager
def _watching(taken: Any) -> Iterator[dict[str, Any]]:
    """What a benchmark tells while it runs: how many cases are done, or a line when a part begins."""
    with progress("Evaluating", None) as shown:
        task = shown.task_ids[0]
        hooks = {
            "progress": lambda done, total: shown.update(task, completed=done, total=total),
            "report": lambda line: shown.update(task, description=line),
        }
        yield {name: hook for name, hook in hooks.items() if name in taken}


def _tell(result: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("what")
    table.add_column("result", justify="right", overflow="fold")
    for name, value in _flat(result):
        table.add_row(name, value)
    screen().print(table, markup=False)


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Numbers and texts with the path to them."""
    if isinstance(value, dict) and isinstance(value.get("accuracy"), float) and len(value.get("interval", ())) == 2:
        low, high = value["interval"]
        return [(name, f"{value['accuracy']:.3f}  [{low:.3f}, {high:.3f}]")]
    if isinstance(value, dict):
        if len(value) > 5 * _TOLD and name:
            return [(name, f"{len(value)} entries")]
        return [row for key, each in value.items() for row in _flat(each, f"{name} · {key}" if name else str(key))]
    if isinstance(value, float):
        return [(name, f"{value:.4g}")]
    if isinstance(value, list | tuple):
        if len(value) > _TOLD:
            return [(name, f"{len(value)} entries")]
        return [(name, "  ".join(_flat(each)[0][1] if not isinstance(each, dict | list) else "…" for each in value))]
    return [(name, str(value))]
