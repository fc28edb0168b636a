"""From `git clone` to the first aligned reply: commands typed, seconds, and bytes downloaded.

Needs a package index, a quiet machine for its seconds, and 3 GB of disk: python -m benchmarks.first_reply
"""

import json
import os
import resource
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks._report import write

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("git clone URL persona-align && cd persona-align", "make demo")


def timed(command: list[str], folder: Path) -> tuple[dict[str, float], str]:
    """Seconds by the clock and of the processor, and what was printed."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, env=clean)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(time.perf_counter() - began, 1), "processor_seconds": round(processor, 1)}, done.stdout


def size_of(url: str) -> int:
    """The bytes of one package file."""
    if url.startswith("file:"):
        return Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path)).stat().st_size
    with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=30) as answer:
        return int(answer.headers["Content-Length"])


def downloads(clone: Path) -> dict[str, int]:
    """What pip would fetch for `make demo` into an empty environment, by package."""
    report = clone / "report.json"
    subprocess.run(
        [
            str(clone / ".venv/bin/python"), "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
            "--constraint", "constraints.txt", "--report", str(report), ".[offline]",
        ],
        cwd=clone, check=True, capture_output=True,
    )  # fmt: skip
    found: dict[str, int] = {}
    for item in json.loads(report.read_text(encoding="utf-8"))["install"]:
        url = item["download_info"]["url"]
        if url.endswith((".whl", ".tar.gz", ".zip")):
            found[item["metadata"]["name"]] = size_of(url)
    return found


def main() -> None:
    results: dict[str, Any] = {"commands": list(COMMANDS)}
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "persona-align"
        results["clone"], _ = timed(["git", "clone", "--quiet", str(ROOT), str(clone)], Path(folder))
        pack = sum(file.stat().st_size for file in (clone / ".git").rglob("*") if file.is_file())
        results["make_demo"], printed = timed(["make", "demo"], clone)
        results["replied"] = "LLM calls that learning took: 0" in printed
        results["make_demo_again"], _ = timed(["make", "demo"], clone)
        packages = downloads(clone)
    largest = sorted(packages.items(), key=lambda item: -item[1])[:5]
    results["bytes"] = {"repository": pack, "packages": sum(packages.values()), "largest": dict(largest)}
    results["packages"] = len(packages)
    print(write("first_reply", results, seed=0))


if __name__ == "__main__":
    main()
