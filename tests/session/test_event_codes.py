"""Codes of events stay: each that the code writes is in the table of docs/site.md."""

import ast
from pathlib import Path

import nextpyp_nb

PACKAGE = Path(nextpyp_nb.__file__).parent
# Begins of codes that go on with a name or state: those are listed in the table one by one.
BEGINS = ("movie_", "micrograph_", "command_")


def written():
    """The codes given to `log`, where they are words: a track's log takes the level first."""
    codes = set()
    for path in (*PACKAGE.glob("session/*.py"), *PACKAGE.glob("tracks/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "log"):
                continue
            of_a_track = isinstance(node.func.value, ast.Name) and len(node.args) > 2
            given = node.args[1 if of_a_track else 0] if node.args else None
            if isinstance(given, ast.JoinedStr):
                given = given.values[0]
            if isinstance(given, ast.Constant) and isinstance(given.value, str):
                codes.add(given.value)
    return codes


def test_every_code_is_in_the_table():
    table = (PACKAGE.parent / "docs" / "site.md").read_text().partition("### Events")[2].partition("\n## ")[0]
    codes = written()
    assert {"movie_", "paused", "round_done", "side_file", "command_refused"} <= codes
    missing = [code for code in codes if f"`{code}`" not in table and code not in BEGINS]
    assert missing == []
    for code in BEGINS:
        assert f"`{code}" in table
