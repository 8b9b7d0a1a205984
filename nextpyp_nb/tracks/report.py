"""The report of a session: a notebook that is run, and what it shows as one HTML file."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nextpyp_nb.pages import notebook
from nextpyp_nb.tracks.export import make_room
from nextpyp_nb.tracks.process_movie import Report

TEMPLATE = "report.ipynb"


def report_plan(folder: Path, out: Path) -> dict[str, Any]:
    """What `write_report` takes: the session's folder, and the folder to write to."""
    return {"folder": str(folder), "out": str(Path(out).absolute())}


def write_report(plan: dict[str, Any], report: Report) -> dict[str, Any]:
    """Run templates/report.ipynb on a session and keep it as report.ipynb and report.html in ``out``.

    What was written is read again; a cell that failed is an error that names it.
    """
    # Slow to load, and only here needed.
    import nbformat
    import papermill

    out, folder = Path(plan["out"]), Path(plan["folder"])
    make_room(out)
    made, page = out / "report.ipynb", out / "report.html"
    page.unlink(missing_ok=True)
    report({"stage": "running the report's notebook", "done": 0, "total": 3})
    parameters = {"session": folder.name, "root": str(folder.parent)}
    try:
        papermill.execute_notebook(
            str(notebook(TEMPLATE, machine=True)), str(made), parameters, progress_bar=False,
            kernel_name="python3", cwd=str(out),
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        raise RuntimeError(
            f"the report's notebook failed: {error.ename}: {error.evalue}; see {made}"
        ) from None
    report({"stage": "writing HTML", "done": 1, "total": 3})
    cells = nbformat.read(made, as_version=4)
    page.write_text(_html(cells, folder.name), encoding="utf-8")
    report({"stage": "reading it again", "done": 2, "total": 3})
    figures = sum("image/png" in output.get("data", ()) for output in _outputs(cells))
    _check(page, folder.name, figures)
    return {
        "path": str(page),
        "figures": figures,
        "text": f"{figures} figures, {page.stat().st_size >> 10:,} kB",
    }


def _html(cells: Any, name: str) -> str:
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="lab", exclude_input=True, exclude_input_prompt=True)
    exporter.exclude_output_prompt = True
    # The page must be whole where there is no network.
    exporter.mathjax_url = exporter.require_js_url = ""
    cells.metadata["title"] = f"Report of {name}"
    text, _ = exporter.from_notebook_node(cells)
    return str(text)


def _outputs(cells: Any) -> Iterable[Any]:
    return (output for cell in cells.cells for output in cell.get("outputs", ()))


def _check(page: Path, name: str, figures: int) -> None:
    """Raise when the page lacks its title or a figure."""
    text = page.read_text(encoding="utf-8")
    found = text.count("data:image/png;base64,")
    if f"Report of {name}" not in text or not text.rstrip().endswith("</html>") or found < figures:
        raise OSError(f"{page} is not whole: {found} of {figures} figures; is the disk full?")
