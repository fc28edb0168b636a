"""How long each notebook and the documentation take to run and build: python -m benchmarks.tutorials

Seconds want a quiet machine; the processor's seconds beside them hardly depend on it.
"""

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._report import write

ROOT = Path(__file__).resolve().parent.parent


def timed(command: list[str], folder: str, **more: str) -> tuple[dict[str, Any], str]:
    """Seconds by the clock and of the processor, and what was said on the error stream."""
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "integrations")])}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True, env={**os.environ, **paths, **more}
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": round(time.perf_counter() - began, 1), "processor_seconds": round(processor, 1)
    }, done.stderr  # fmt: skip


def main() -> None:
    notebooks = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            code = (
                "import sys, nbformat; from nbclient import NotebookClient; "
                "NotebookClient(nbformat.read(sys.argv[1], 4), timeout=600, "
                "kernel_name='python3', resources={'metadata': {'path': '.'}}).execute()"
            )
            command = [sys.executable, "-W", "ignore", "-c", code, str(path)]
            notebooks[path.stem], _ = timed(command, folder, PERSONA_ALIGN_CACHE=f"{folder}/cache")
        print(path.stem, notebooks[path.stem])
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
        built, said = timed(command, str(ROOT), NO_MKDOCS_2_WARNING="1")
        pages = len(list(Path(folder).rglob("index.html")))
    docs = {**built, "warnings": len(re.findall("WARNING", said)), "pages": pages}
    results = {"notebooks": notebooks, "longest_notebook": max(n["seconds"] for n in notebooks.values()), "docs": docs}
    print(write("tutorials", results, seed=0))


if __name__ == "__main__":
    main()
