"""Every notebook runs from top to bottom in a copy, offline, and says nothing on the error stream."""

import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
OFFLINE = """
import pytest_socket
pytest_socket.socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)
"""
LONGEST_CELL = 240
"""Seconds; far more than any cell takes, so that a busy machine does not fail what works."""


def read(path):
    return nbformat.read(path, as_version=4)


def execute(notebook, folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "integrations")]))
    monkeypatch.setenv("PERSONA_ALIGN_CACHE", str(folder / "cache"))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    data = Path(os.environ.get("PERSONA_ALIGN_DATA", ROOT.parent / "shared" / "data"))
    if data.is_dir():
        monkeypatch.setenv("PERSONA_ALIGN_DATA", str(data.resolve()))
    notebook.cells.insert(0, nbformat.v4.new_code_cell(OFFLINE))
    client = NotebookClient(
        notebook, timeout=LONGEST_CELL, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    return client.execute()


def said(notebook, stream):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == stream)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_offline_without_a_warning(path, tmp_path, monkeypatch):
    done = execute(read(path), tmp_path, monkeypatch)
    assert said(done, "stderr") == ""
    pictures = [out for cell in done.cells for out in cell.get("outputs", ()) if "image/png" in out.get("data", {})]
    assert pictures, "a tutorial shows a picture"


@pytest.mark.slow
@pytest.mark.parametrize("call", ["connect(('203.0.113.1', 80))", "connect(('198.51.100.7', 443))"])
def test_the_network_really_is_closed(call, tmp_path, monkeypatch):
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(f"import socket\ns = socket.socket(); s.settimeout(1)\ns.{call}")]
    )
    with pytest.raises(CellExecutionError, match="SocketConnectBlockedError"):
        execute(notebook, tmp_path, monkeypatch)


@pytest.mark.slow
def test_the_kernel_is_the_running_interpreter(tmp_path, monkeypatch):
    code = "import sys, persona_align\nprint(sys.prefix)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    assert said(execute(notebook, tmp_path, monkeypatch), "stdout").strip() == sys.prefix


def test_all_seven_are_here():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06", "07"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_source_holds_no_output(path):
    notebook = read(path)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_a_tutorial(path):
    """A title, a question, what to notice, what can go wrong; no cell that needs a second screen."""
    notebook = read(path)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert prose.startswith(f"# {int(path.stem[:2])}. ")
    for part in ("**The question.**", "What to notice", "## What can go wrong"):
        assert part in prose, part
    assert all(len(cell.source.splitlines()) <= 40 for cell in notebook.cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)#:]+)\)", cell.source):
                assert (path.parent / target).is_file(), target
