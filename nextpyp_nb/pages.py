"""Where the notebooks are, and a copy of one with its parameters filled in."""

from pathlib import Path
from typing import Any

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


def filled_notebook(name: str, **parameters: Any) -> Any:
    """A notebook that people open, with ``parameters`` filled in and its code folded away."""
    # Slow to load, and not needed by those who only ask where the notebooks are.
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    filled = parameterize_notebook(load_notebook_node(str(notebook(name))), parameters)
    own, given = (cell for cell in filled.cells if "parameters" in "".join(cell.metadata.get("tags", ())))
    own.source += "\n\n" + given.source
    filled.cells.remove(given)
    for cell in filled.cells:
        if cell.cell_type == "code":
            cell.metadata["jupyter"] = {"source_hidden": True}
    return filled
