"""Where the notebooks are, and a copy of one with its parameters filled in."""

from pathlib import Path
from typing import Any

import nbformat
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

_PACKAGE = Path(__file__).parent


def notebook(name: str, *, machine: bool = False) -> Path:
    """Path of a notebook that people open, or of a template that machines run."""
    installed = _PACKAGE / "_notebooks" / ("machines" if machine else "people") / name
    checkout = _PACKAGE.parent / ("templates" if machine else "notebooks") / name
    for path in (installed, checkout):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"the notebook {name} is missing from this installation; install nextpyp_nb again"
    )


def page_templates() -> Path:
    """The folder that must be on JUPYTER_PATH for Voilà to know the template "nextpyp"."""
    return notebook("session.ipynb", machine=True).parent


def write_page(path: Path, **parameters: Any) -> Path:
    """Write the session's page with ``parameters`` filled in, for Voilà or JupyterLab."""
    filled = parameterize_notebook(load_notebook_node(str(notebook("session.ipynb"))), parameters)
    nbformat.write(filled, path)
    return path
