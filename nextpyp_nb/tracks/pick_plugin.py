"""Picks by another program or a Python function, in a process of its own that can be ended."""

import ctypes
import importlib
import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from nextpyp_nb.formats.arrays import read_arrays, write_arrays
from nextpyp_nb.formats.mrc import read_mrc
from nextpyp_nb.formats.picks import read_picks
from nextpyp_nb.records import FloatArray

_PR_SET_PDEATHSIG = 1


def run_plugin(plugin: str, micrograph: Path, pixel_size: float, *, timeout: float) -> tuple[Any, Any]:
    """Centres (n, 2) in (y, x) px and scores (n,), best first, of what ``plugin`` picks.

    ``plugin`` is FILE.py:FUNCTION or MODULE:FUNCTION, called as ``pick(micrograph, pixel_size)``, or a
    command with {micrograph}, {pixel_size} and {out}, the CSV that it writes.
    """
    with tempfile.TemporaryDirectory(prefix="nextpyp-pick-") as folder:
        function = "{" not in plugin
        out = Path(folder) / ("picks.npz" if function else "picks.csv")
        words = [plugin] if function else _command(plugin, micrograph, pixel_size, out)
        launch = [sys.executable, "-m", "nextpyp_nb.tracks.pick_plugin", str(os.getpid())]
        launch += ["function", str(micrograph), str(pixel_size), str(out)] if function else ["program"]
        _wait(subprocess.Popen(
            [*launch, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        ), plugin, timeout)  # fmt: skip
        if not out.is_file():
            raise ValueError(f"the plug-in {plugin} ended well but wrote nothing to its {{out}}")
        if function:
            stored = read_arrays(out)
            return _checked(stored["centres"], stored["scores"], plugin)
        return _checked(*read_picks(out, micrograph.name), plugin)


def _command(plugin: str, micrograph: Path, pixel_size: float, out: Path) -> list[str]:
    if "{out}" not in plugin or "{micrograph}" not in plugin:
        raise ValueError(f"got plug-in command {plugin!r}, expected {{micrograph}} and {{out}} in it")
    values = {"{micrograph}": str(micrograph), "{pixel_size}": f"{pixel_size:g}", "{out}": str(out)}
    words = shlex.split(plugin)
    for name, value in values.items():
        words = [word.replace(name, value) for word in words]
    return words


def _wait(process: "subprocess.Popen[bytes]", plugin: str, timeout: float) -> None:
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise ValueError(f"the plug-in {plugin} took longer than {timeout:g} s and was ended") from None
    finally:
        if process.poll() is None:
            # Its children too: a plug-in may be a shell script.
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        told = output.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise ValueError(f"the plug-in {plugin} ended with {process.returncode}: {told[0]}")


def _checked(centres: FloatArray, scores: FloatArray, plugin: str) -> tuple[FloatArray, FloatArray]:
    centres, scores = np.asarray(centres, np.float32), np.asarray(scores, np.float32)
    centres = centres.reshape(0, 2) if centres.size == 0 else centres
    if centres.ndim != 2 or centres.shape[1] != 2 or scores.shape != (len(centres),):
        raise ValueError(
            f"the plug-in {plugin} gave centres {centres.shape} and scores {scores.shape}, expected (n, 2) in"
            " (y, x) px and (n,)"
        )
    if not (np.isfinite(centres).all() and np.isfinite(scores).all()):
        raise ValueError(f"the plug-in {plugin} gave centres or scores that are not numbers")
    order = np.argsort(-scores, kind="stable")
    return centres[order], scores[order]


def _load(spec: str) -> Any:
    source, colon, name = spec.rpartition(":")
    if not colon or not name.isidentifier():
        raise ValueError(f"got plug-in {spec!r}, expected FILE.py:FUNCTION or MODULE:FUNCTION")
    if not source.endswith(".py"):
        return getattr(importlib.import_module(source), name)
    found = importlib.util.spec_from_file_location("pick_plugin_file", source)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return getattr(module, name)


def main(parent: int, kind: str, *words: str) -> None:
    """In the new process: die with the worker, then become the program or call the function."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    if kind == "program":
        try:
            os.execvp(words[0], words)
        except OSError as error:
            raise SystemExit(f"cannot start {words[0]}: {error.strerror}") from None
    micrograph, pixel_size, out, spec = words
    average, _ = read_mrc(Path(micrograph))
    centres, scores = _load(spec)(np.array(average, np.float32), float(pixel_size))
    write_arrays(Path(out), centres=np.asarray(centres), scores=np.asarray(scores))


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
