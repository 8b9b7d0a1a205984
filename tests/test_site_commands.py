"""Commands of a facility: tables of sessions, and what is refused."""

import asyncio
import json
import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace

import papermill
import pytest
from jupyter_server._tz import utcnow

from nextpyp_nb.cli import main
from nextpyp_nb.page_kernels import PageKernels
from nextpyp_nb.site_commands import read_rows

ROWS = [
    {"name": "a", "data": "/x/*.tiff", "pixel": 1.1, "detect_rad": 80},
    {"name": "b", "data": "/y/*.tiff"},
]


@pytest.mark.parametrize("form", ["csv", "tsv", "yaml", "json"])
def test_a_table_reads_alike_in_each_form(tmp_path, form):
    path = tmp_path / f"table.{form}"
    if form in ("csv", "tsv"):
        between = {"csv": ",", "tsv": "\t"}[form]
        lines = [
            ("name", "data", "pixel", "detect_rad"),
            ("a", "/x/*.tiff", "1.1", "80"),
            ("b", "/y/*.tiff", "", ""),
        ]
        path.write_text("".join(between.join(line) + "\n" for line in lines))
    else:
        # JSON is YAML.
        path.write_text(json.dumps(ROWS))
    first, second = read_rows(path)
    assert {key: str(value) for key, value in first.items()} == {key: str(v) for key, v in ROWS[0].items()}
    assert second == ROWS[1]


def test_each_row_is_run_and_one_that_fails_is_told(tmp_path, monkeypatch, capsys):
    table = tmp_path / "table.json"
    table.write_text(json.dumps(ROWS))
    ran = []

    def execute(source, target, parameters, **_):
        ran.append(parameters)
        if parameters["name"] == "b":
            raise papermill.PapermillExecutionError(0, 1, "", "RuntimeError", "no pixel size", [])

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    code = main(["batch", str(table), "--root", str(tmp_path / "s"), "--out", str(tmp_path / "out")])
    assert code == 1
    assert ran[0]["settings"] == {"detect_rad": 80}
    assert ran[0]["pixel"] == 1.1
    assert ran[0]["root"] == str(tmp_path / "s")
    said = capsys.readouterr().out
    assert "a: done" in said
    assert "b: failed: no pixel size" in said


@pytest.mark.parametrize(
    ("rows", "problem"),
    [([{"name": "a"}], "at least a name and data"), ([ROWS[0]] * 2, "several rows for a"), ({}, "no list")],
)
def test_a_table_that_cannot_be_is_refused_before_anything_runs(tmp_path, capsys, rows, problem):
    table = tmp_path / "table.json"
    table.write_text(json.dumps(rows))
    assert main(["batch", str(table), "--out", str(tmp_path / "out")]) == 1
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_others_may_not_reach_the_page_unless_told(capsys):
    assert main(["serve", "--address", "0.0.0.0"]) == 1
    assert "add --open-to-network" in capsys.readouterr().err


def test_a_kernel_that_waited_long_is_not_ended_before_its_page_connects(monkeypatch):
    kernels, ended = PageKernels(cull_idle_timeout=10), []
    kernel = SimpleNamespace(
        execution_state="idle", kernel_name="python3", kernel_spec=SimpleNamespace(metadata={}),
        last_activity=utcnow() - timedelta(hours=1),
    )  # fmt: skip
    kernels._kernels["k"] = kernel

    async def shutdown(kernel_id):
        ended.append(kernel_id)

    monkeypatch.setattr(kernels, "shutdown_kernel", shutdown)

    def sweep():
        asyncio.run(kernels.cull_kernel_if_idle("k"))
        return list(ended)

    assert sweep() == sweep() == []
    kernel.last_activity -= timedelta(seconds=20)
    assert sweep() == ["k"]


def test_a_page_that_acts_for_people_needs_an_account_that_may(tmp_path, monkeypatch, capsys):
    (tmp_path / "site.toml").write_text("")
    monkeypatch.setenv("NEXTPYP_NB_SITE", str(tmp_path / "site.toml"))
    assert main(["serve", "--behind-proxy", "--person-header", "Remote-User"]) != 0
    assert "service_accounts" in capsys.readouterr().err


def test_two_processes_that_look_for_a_port_find_two():
    look = "from nextpyp_nb.serving import free_port\nprint(free_port(19411), flush=True)\ninput()"
    found = [
        subprocess.Popen(
            [sys.executable, "-c", look], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    ports = [int(process.stdout.readline()) for process in found]
    for process in found:
        process.communicate("\n")
    assert len(set(ports)) == 2
