"""What a chat pays for being personal: record, preferences and retrieve, beside the bare encoder and bare Chroma.

Run: python -m benchmarks.end_to_end [--turns 10000] [--users 100]
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import chromadb
import numpy as np

from benchmarks import _report
from persona_align import PersonaAligner, Turn
from persona_align.preferences import ALIGNX

SEED = 0
WORDS = ["the", "quiet", "river", "carries", "boats", "past", "old", "towns", "while", "people", "talk", "music"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = {
            **recording(Path(folder) / "one", given.repeats),
            **reading(Path(folder) / "many", given.turns, given.users, given.repeats),
        }
    results["import_core_s"] = imported("persona_align, persona_align.records, persona_align.preferences")
    results["demo"] = demo()
    print(_report.write("end_to_end", results, seed=SEED))


def recording(folder: Path, repeats: int) -> dict[str, float]:
    """`record` of one 40-word turn against its bare parts, taken in turns so that noise hits both."""
    rng = np.random.default_rng(SEED)
    with PersonaAligner.open(folder / "ours") as aligner:
        settings = chromadb.Settings(anonymized_telemetry=False)
        bare = chromadb.PersistentClient(str(folder / "bare"), settings).create_collection(
            "bare", embedding_function=None
        )
        times: dict[str, list[float]] = {"record": [], "bare": []}
        for number in range(repeats + 5):
            text = words(rng, 40)
            ours = timed(lambda text=text: aligner.record("ada", Turn(role="user", text=text)))
            text = words(rng, 40)
            theirs = timed(lambda text=text, number=number: upsert(bare, aligner, text, str(number)))
            if number >= 5:
                times["record"].append(ours)
                times["bare"].append(theirs)
    return {
        "record_p50_ms": quantile(times["record"], 0.5),
        "record_p95_ms": quantile(times["record"], 0.95),
        "bare_encoder_and_upsert_p50_ms": quantile(times["bare"], 0.5),
        "record_ratio_p50": round(quantile(times["record"], 0.5) / quantile(times["bare"], 0.5), 3),
    }


def upsert(bare: chromadb.Collection, aligner: PersonaAligner, text: str, number: str) -> None:
    vector = aligner.encoder.model.encode([text])[0]
    bare.upsert(ids=[number], embeddings=[vector], documents=[text], metadatas=[{"user_id": "ada"}])


def reading(folder: Path, turns: int, users: int, repeats: int) -> dict[str, float]:
    """`preferences` and `retrieve` with a filled memory; encoding the query is measured and taken off."""
    rng = np.random.default_rng(SEED)
    statements = [text for d in ALIGNX for text in (*d.high_statements, *d.low_statements)]
    with PersonaAligner.open(folder) as aligner:
        began = time.perf_counter()
        for user in range(users):
            texts = [f"{statements[rng.integers(len(statements))]} {words(rng, 6)}" for _ in range(turns // users)]
            aligner.record(f"user{user}", *(Turn(role="user", text=text) for text in texts))
        filled = time.perf_counter() - began
        warm: list[float] = []
        cold: list[float] = []
        asked: list[float] = []
        encoded: list[float] = []
        for number in range(repeats):
            user = f"user{number % users}"
            cold.append(timed(lambda user=user: aligner.preferences(user)))
            warm.append(timed(lambda user=user: aligner.preferences(user)))
            query = words(rng, 8)
            encoded.append(timed(lambda query=query: aligner.encode(query)))
            asked.append(timed(lambda user=user, query=query: aligner.retrieve(user, query)))
    return {
        "records": turns,
        "users": users,
        "ingest_per_s": round(turns / filled, 1),
        "preferences_first_p50_ms": quantile(cold, 0.5),
        "preferences_again_p50_ms": quantile(warm, 0.5),
        "retrieve_p50_ms": quantile(asked, 0.5),
        "encode_query_p50_ms": quantile(encoded, 0.5),
        "retrieve_beyond_encoding_p50_ms": round(statistics.median(np.subtract(asked, encoded)), 3),
    }


def demo() -> dict[str, float]:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "from persona_align.cli import main; main()", "demo", "--json"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"seconds": round(time.perf_counter() - began, 2), "peak_memory_mib": round(peak, 1)}


def imported(modules: str) -> float:
    script = f"import time; t = time.perf_counter(); import {modules}; print(time.perf_counter() - t)"
    runs = [
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True) for _ in range(5)
    ]
    return round(statistics.median(float(run.stdout) for run in runs), 3)


def words(rng: np.random.Generator, n: int) -> str:
    said = " ".join(rng.choice(WORDS) for _ in range(n))
    return f"{said} {rng.integers(1_000_000)}"


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def quantile(values: list[float], q: float) -> float:
    return round(float(np.quantile(values, q)), 3)


if __name__ == "__main__":
    main()
