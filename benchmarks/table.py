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


def _arms(result: Any) -> str:
    arms = result["student_phd_half"]["arms"]
    told = {name: f"{arm['accuracy']:.3f}" for name, arm in arms.items()}
    return f"{told['own']}; no user {told['no user']}, opposite persona {told['opposite persona']}"


def _found(result: Any) -> str:
    def top(name: str) -> str:
        ours = result[name]["arms"]["retrieval"]["accuracy"]
        return f"{ours:.3f} (cosine {result[name]['baselines']['cosine of whole messages']['accuracy']:.3f})"

    return f"{top('stated')}; revealed in passing {top('revealed')}; ten topics at once {top('ten topics')}"


def _papi(result: Any) -> str:
    arms = result["arms"]

    def error(name: str) -> str:
        return f"{arms[name]['composite'][0]:.2f}"

    return (
        f"base {error('base')}; search {error('pas search')}, linear {error('pas linear')}, optimize "
        f"{error('pas optimize')}; told the traits {error('told')}, shown 30 answers {error('few-shot 30')}; "
        f"item medians {result['baselines']['item median of others']['composite'][0]:.2f}"
    )


ROWS = [
    Row(
        "P-Soups student/PhD, a fifth comparison ranked after four (AlignX's trained 8B: 0.817 over three sets)",
        "taste_psoups",
        _arms,
        "≥ 0.94, opposite ≤ 0.10",
    ),
    Row(
        "PrefEval, 300 turns of distraction: the turn that stated the preference is in the top 5",
        "retrieval_prefeval",
        _found,
        "≥ 0.98; ≥ 0.95",
    ),
    Row(
        "150 messages kept from all training: what they state is found, sign included / messages that raise more",
        "inference_sentences",
        lambda r: (
            f"{100 * r['exam']['all']['right']:.0f}% / "
            f"{100 * r['exam']['all']['messages raising the unstated and unrelated']:.0f}%"
        ),
        "",
    ),
    Row(
        "Calibration of confidence on simulated people, expected error: at or above the floor of 0.2 / of all readings",
        "inference_calibration",
        lambda r: (
            f"{r['held out, at or above the floor']['expected_calibration_error']:.3f} / "
            f"{r['held out']['expected_calibration_error']:.3f}"
        ),
        "≤ 0.08",
    ),
    Row(
        "Users of whom only one topic is known: unrelated messages that reach the model byte for byte as they were",
        "topic_gate",
        lambda r: (
            f"{100 * r['untouched']:.1f}%; conditioned when asked about it "
            f"{100 * r['asked_about_the_topic_and_conditioned']:.0f}%"
        ),
        "≥ 95%",
    ),
    Row(
        "Big Five traits from 120 chat messages of 150 real people: mean correlation (templates seen while tuning)",
        "inference_papi_chat",
        lambda r: (
            f"{r['correlation']['mean']:.2f}; another person's messages "
            f"{r['baselines'][next(k for k in r['baselines'] if 'another' in k)]['mean']:.2f}"
        ),
        "≥ 0.80",
    ),
    Row(
        "Bundled model, 16 dimensions: high and low replies told apart by PBA / ICA (six turns in varied words) / PAS",
        "demo_alignable",
        lambda r: " / ".join(f"{100 * r['chat']['told_apart'][mode]['mean']:.0f}%" for mode in ("pba", "ica", "pas")),
        "95 / 85 / 80%",
    ),
    Row(
        "`record` of a 40-word turn against the bare encoder pass and Chroma upsert, p50",
        "end_to_end",
        lambda r: f"{r['record_p50_ms']:.0f} ms, {r['record_ratio_p50']:.2f} ×",
        "≤ 1.5 ×",
    ),
    Row(
        "`preferences` first and again / `retrieve` beyond encoding the query, p50",
        "end_to_end",
        lambda r: (
            f"{r['preferences_first_p50_ms']:.1f} and {r['preferences_again_p50_ms']:.2f} ms / "
            f"{r['retrieve_beyond_encoding_p50_ms']:.1f} ms ({r['records']:,} records, {r['users']} users)"
        ),
        "≤ 10 ms",
    ),
    Row(
        "`forget` among 1,000 users: traces of the person left in any file",
        "memory_forget",
        lambda r: f"{r['ours']['hits_after']}; plain Chroma delete: {r['plain_chroma']['hits_after']}",
        "0",
    ),
    Row(
        "kill -9 while writing and forgetting: acknowledged records lost or crossed",
        "memory_kill",
        lambda r: f"{len(r['problems'])} in {r['rounds']} kills",
        "0 in 1,000",
    ),
    Row(
        "16 users at once against one after another (bundled model)",
        "chat_batching",
        lambda r: " / ".join(
            f"{r['throughput']['times_faster_than_one_after_another'][way]:.1f} ×"
            for way in ("threads", "asyncio", "generate_rows")
        ),
        "≥ 4 ×",
    ),
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
        "The same on an H200, Llama-3-8B geometry, bfloat16, batch 1 / 8 / 64; rows of many users against rows of one",
        "steering_overhead_cuda",
        lambda r: (
            " / ".join(f"{batch['ratio_unlike']:.3f}" for batch in r["batches"].values())
            + " ×; "
            + " / ".join(f"{batch['ratio_unlike_to_alike']:.3f}" for batch in r["batches"].values())
            + " ×"
        ),
        "≤ 1.01 ×",
    ),
    Row(
        "Perplexity at the default strength over unsteered, for 1 to 16 preferences at once: median; worst; within 1.5",
        "steering_combinations",
        lambda r: (
            f"{r['median_at_the_default']:.2f}; {r['worst_at_the_default']:.2f}; "
            f"{100 * r['within_the_bound_at_the_default']:.0f}%"
        ),
        "≤ 1.5",
    ),
    Row(
        "The middleware's time for each model call beyond encoding, p50 / p95; the longest stall of the event loop",
        "places_agents",
        lambda r: (
            f"{r['model_call']['pba']['beyond_encoding']['p50_ms']:.1f} / "
            f"{r['model_call']['pba']['beyond_encoding']['p95_ms']:.1f} ms; "
            f"{r['event_loop']['streaming']['most_ms']:.0f} ms"
        ),
        "≤ 30 ms; < 20 ms",
    ),
    Row(
        "The server with 16 users on the bundled model: tokens a second over plain, personal / and recording; the page",
        "places_server",
        lambda r: (
            f"{r['throughput']['to_plain']['personal']['tokens_a_second']:.2f} / "
            f"{r['throughput']['to_plain']['recording']['tokens_a_second']:.2f}; {r['page'].get('median_ms', '?')} ms"
        ),
        "≥ 0.9; < 1 s",
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
    Row(
        "Learning what an 8B model makes of 120 statements, once for all (H200): activations, gradients, contexts",
        "pas_capture_cuda",
        lambda r: (
            f"{r['steps']['all of it, and the shared matrices']['seconds']:.0f} s, up to "
            f"{max(step['peak_gb_beyond_before'] for step in list(r['steps'].values())[:4]):.0f} GB beside the weights"
        ),
        "",
    ),
    Row(
        "PAS on 75 real people, error on 180 answers after 120 others (bundled model, correct keys; lower is better)",
        "pas_papi",
        _papi,
        "≤ shown 30 answers",
    ),
    Row(
        "The same of `linear` after 5 / 10 / 20 / 40 answers: alone; borrowing from 75 other people",
        "pas_groups",
        lambda r: "; ".join(
            " / ".join(f"{r['arms'][f'linear, {n} answers, {how}']['composite'][0]:.2f}" for n in (5, 10, 20, 40))
            for how in ("alone", "with a group")
        ),
        "",
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
