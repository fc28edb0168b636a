"""The README's table of results, made from benchmarks/results: `python -m benchmarks.table` rewrites it in place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


class Row(NamedTuple):
    """One line of the table: what was measured, where it stands, how it is told, and what was aimed at."""

    label: str
    file: str
    tell: Callable[[Any], str]
    aim: str


ROWS = [
    Row(
        "Replies with another user's offsets, of 1,000 (32 users, 8 threads and an event loop)",
        "steering_isolation",
        lambda r: f"{r['persona_align']['wrong']}; swapping biases: {r['bias_swapping']['wrong']}",
        "0",
    ),
    Row(
        "Time of steering all layers, 34M parameters, batch 8, 64 tokens, against unsteered",
        "steering_overhead",
        lambda r: f"{r['batches']['8']['ratio_unlike']:.3f} ×",
        "≤ 1.03 ×",
    ),
    Row(
        "Offsets of 1,000 users at Llama-3-8B geometry",
        "steering_memory",
        lambda r: f"{r['dense, float16']['held_mb']:.0f} MB; 24 heads each: {r['24 heads']['held_mb']:.0f} MB",
        "< 300 MB",
    ),
    Row(
        "Fitting a person's offsets at Llama-3-8B geometry: `linear`, one person / each of many",
        "pas_fit_speed",
        lambda r: (
            f"{r['methods']['linear']['fit_ms']:.1f} ms / {r['methods']['linear']['fit_many_ms_per_person']:.2f} ms; "
            f"PAS's procedure: {r['reference_procedure_s_per_person']:.0f} s"
        ),
        "≤ 50 ms / ≤ 2 ms",
    ),
]


def table() -> str:
    """The table in Markdown; a measurement that has not been made has no row."""
    lines = ["| measured | result | aim |", "|---|---|---|"]
    for row in ROWS:
        path = ROOT / "benchmarks" / "results" / f"{row.file}.json"
        if path.exists():
            results = json.loads(path.read_text(encoding="utf-8"))["results"]
            lines.append(f"| {row.label} | {row.tell(results)} | {row.aim} |")
    return "\n".join(lines)


def main() -> None:
    """Put the table between its marks in the README."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    readme.write_text(f"{head}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
