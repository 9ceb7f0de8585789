"""docs/tour.ipynb runs from its first cell to its last."""

import nbformat
import pytest
from nbclient import NotebookClient

from tests.repository import ROOT


@pytest.mark.slow
def test_the_tour_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TOUR_STEPS", "3")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "docs/tour.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    (answers,) = [
        o["data"]["text/plain"] for o in outputs if "5.mp4" in o.get("data", {}).get("text/plain", "")
    ]
    assert "bikes" in answers
    assert "bigbuckbunny" in answers
