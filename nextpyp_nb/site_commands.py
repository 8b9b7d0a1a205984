"""The commands of a facility: ``nextpyp-nb serve``, ``batch`` and ``report``."""

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nextpyp_nb.session import open_session
from nextpyp_nb.session.groups import user_name
from nextpyp_nb.settings import read_site

PARAMETERS = ("name", "data", "pixel", "voltage", "gain", "group", "export", "filter", "stack", "report")


def add_serve(serve: argparse.ArgumentParser) -> None:
    """The list of sessions (or one session) as a page for people without a notebook."""
    serve.add_argument("name", metavar="NAME", nargs="?", help="one session; without, the list of all")
    serve.add_argument("--port", type=int, default=8866)
    serve.add_argument("--address", default="127.0.0.1", help="where to listen (default: this machine only)")
    serve.add_argument("--base-url", default="/", help="prefix behind a proxy, such as /sessions/")
    serve.add_argument("--kernels", type=int, default=1, metavar="N", help="pages kept ready (default 1)")
    serve.add_argument(
        "--behind-proxy", action="store_true", help="ask for no token: a proxy in front lets people in"
    )
    serve.add_argument(
        "--person-header", default="", metavar="NAME",
        help="act for whom this header of the proxy's requests names, such as Remote-User",
    )  # fmt: skip
    serve.add_argument(
        "--hub", action="store_true", help="be a service of JupyterHub, and act for whom it lets in"
    )
    serve.add_argument(
        "--open-to-network", action="store_true", help="allow an --address that others can reach"
    )
    serve.set_defaults(command=_serve)


def add_batch(batch: argparse.ArgumentParser) -> None:
    """Many sessions, each run by papermill until all its movies are through."""
    batch.add_argument(
        "table", type=Path, metavar="TABLE",
        help="CSV, TSV, YAML or JSON; a row a session: name, data, pixel, voltage, gain, group, export,"
        " filter, stack, report, and any setting by its name",
    )  # fmt: skip
    batch.add_argument("--out", type=Path, default=Path("batch"), metavar="DIR", help="for the notebooks run")
    batch.add_argument("--jobs", type=int, default=1, metavar="N", help="sessions at once (default 1)")
    batch.set_defaults(command=_batch)


def add_report(report: argparse.ArgumentParser) -> None:
    """A page of figures, classes, failures and settings."""
    report.add_argument("--out", required=True, type=Path, metavar="DIR")
    report.set_defaults(command=_report)


def _serve(options: argparse.Namespace) -> int:
    from nextpyp_nb.serving import LOOPBACK, free_port, page_server, page_url

    if options.address not in LOOPBACK and not options.open_to_network:
        raise ValueError(
            f"{options.address} can be reached from elsewhere, and whoever opens the page acts as this "
            "account; serve on 127.0.0.1 behind a proxy that asks who it is, or add --open-to-network"
        )
    if options.name:
        open_session(options.name, root=options.root).close()
    port, base_url, person = free_port(options.port), options.base_url, options.person_header
    if options.hub:
        port, base_url, person = _hub_service()
    if person and user_name() not in read_site().service_accounts:
        raise ValueError(
            f"the page is to act for people, so the site file must name {user_name()} in service_accounts"
        )
    with tempfile.TemporaryDirectory(prefix="nextpyp-nb-page-") as folder:
        command, environment = page_server(
            Path(folder), session=options.name, root=options.root, port=port,
            address=options.address, base_url=f"/{base_url.strip('/')}/".replace("//", "/"),
            token="" if options.behind_proxy or options.hub else None, kernels=options.kernels,
            person=person, hub=options.hub,
        )  # fmt: skip
        sys.stdout.write(f"Page: {page_url(Path(folder))}\n")
        sys.stdout.flush()
        return subprocess.run(command, env=os.environ | environment, check=False).returncode


def _hub_service() -> tuple[int, str, str]:
    """Port and prefix that JupyterHub gave its service, and the header that names the person."""
    try:
        from nextpyp_nb.hub_people import HEADER

        address = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
        return address.port or 80, os.environ["JUPYTERHUB_SERVICE_PREFIX"], HEADER
    except ImportError:
        raise ValueError("--hub needs jupyterhub: pip install jupyterhub") from None
    except KeyError as missing:
        raise ValueError(
            f"{missing.args[0]} is not set: --hub is for a service of JupyterHub, see docs/site.md"
        ) from None


def _batch(options: argparse.Namespace) -> int:
    rows = [_parameters(row) for row in read_rows(options.table)]
    names = [row["name"] for row in rows]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"{options.table} has several rows for {', '.join(sorted(twice))}")
    options.out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max(1, options.jobs)) as pool:
        results = list(pool.map(lambda row: _run(row, options.out, options.root), rows))
    for name, problem in zip(names, results, strict=True):
        sys.stdout.write(f"{name}: {problem or 'done'}; see {options.out / f'{name}.ipynb'}\n")
    return 1 if any(results) else 0


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV, TSV, YAML or JSON; empty cells are left out."""
    if path.suffix.lower() in (".yaml", ".yml", ".json"):
        import yaml

        rows = yaml.safe_load(path.read_text())
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"{path} holds no list of sessions, each with its name and data")
    else:
        import csv

        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t" if path.suffix.lower() == ".tsv" else ","))
    return [{str(key): value for key, value in row.items() if value not in (None, "")} for row in rows]


def _parameters(row: dict[str, Any]) -> dict[str, Any]:
    """Parameters of templates/session.ipynb; what is none of them is a setting."""
    if not row.get("name") or not row.get("data"):
        raise ValueError(f"got {row}, expected at least a name and data for each session")
    given = {key: row[key] for key in PARAMETERS if key in row}
    if "stack" in given:
        given["stack"] = str(given["stack"]).lower() in ("1", "true", "yes")
    settings = {key: value for key, value in row.items() if key not in PARAMETERS}
    return given | {"name": str(row["name"]), "settings": settings}


def _run(row: dict[str, Any], out: Path, root: Path | None) -> str:
    """Run one session; returns what went wrong, empty when nothing did."""
    import papermill

    from nextpyp_nb.pages import notebook

    parameters = row | {"root": None if root is None else str(root)}
    sys.stdout.write(f"{row['name']}: running\n")
    sys.stdout.flush()
    try:
        papermill.execute_notebook(
            str(notebook("session.ipynb", machine=True)), str(out / f"{row['name']}.ipynb"), parameters,
            progress_bar=False, kernel_name="python3",
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        return f"failed: {error.evalue.strip()}"
    except (OSError, RuntimeError, ValueError) as error:
        return f"failed: {error}"
    return ""


def _report(options: argparse.Namespace) -> None:
    from nextpyp_nb.tracks.report import report_plan, write_report

    session = open_session(options.name, root=options.root)
    done = write_report(report_plan(session.folder, options.out), lambda report: None)
    sys.stdout.write(f"{done['path']}: {done['text']}\n")
