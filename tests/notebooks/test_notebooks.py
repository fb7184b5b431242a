"""The notebooks in examples/notebooks: stored without results, and run from the first cell to the last."""

import os

import nbformat
import psutil
import pytest
from nbclient import NotebookClient

from tests.system.warm import ROOT

LIMIT_S = 500
NOTEBOOKS = {path.stem: path for path in (ROOT / "examples" / "notebooks").glob("*.ipynb")}
PICTURES = {"stream": 2, "sweep": 1}


def test_there_is_a_notebook_for_each_way():
    assert NOTEBOOKS.keys() == PICTURES.keys()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_stored_without_results(name):
    cells = nbformat.read(NOTEBOOKS[name], as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert len(code) > 3
    assert [cell for cell in code if cell.outputs or cell.execution_count is not None] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
    client = NotebookClient(notebook, timeout=LIMIT_S, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()  # raises the error of a cell
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    kinds = [kind for output in shown for kind in output.get("data", {})]
    assert kinds.count("image/png") == PICTURES[name]
    assert ("text/html" if name == "stream" else "text/markdown") in kinds
    assert list(tmp_path.iterdir()) == []
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
