"""What this machine has, and what a session would miss."""

import importlib.metadata
import os
import platform
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from nextpyp_nb.kernels.backend import gpu_count
from nextpyp_nb.settings import Site

PACKAGES = (
    "nextpyp_nb",
    "jupyterlab",
    "voila",
    "ipywidgets",
    "bqplot",
    "ipydatagrid",
    "numpy",
    "numba",
    "mrcfile",
    "tifffile",
)


# The oldest SQLite that knows what the store asks of it (FILTER, UPSERT, reading without write permission).
SQLITE = (3, 31)
# Databases that several processes write at once may be damaged before this one; a session has one writer.
SQLITE_MENDED = (3, 51, 3)
NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "fuse.sshfs", "9p")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding; ``advice`` says what to do when it is not ok."""

    what: str
    found: str
    ok: bool = True
    optional: bool = False
    advice: str = ""


def checks(site: Site) -> list[Check]:
    """Look at versions, disk, file watching, SQLite and GPU."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    memory = psutil.virtual_memory().total / 2**30
    return [
        Check(what="Python", found=platform.python_version()),
        Check(what="packages", found=versions),
        Check(what="machine", found=f"{os.cpu_count()} cores, {memory:.0f} GiB memory"),
        _gpu(),
        _root(site),
        *_file_systems(site),
        _sqlite(site),
        _inotify(),
        _voila(),
        _relion(),
    ]


def _gpu() -> Check:
    count = gpu_count()
    return Check(
        what="GPU", found=f"{count} usable by CuPy" if count else "none", ok=bool(count), optional=True,
        advice="" if count else "all runs on CPU cores, slower; for an NVIDIA GPU install nextpyp_nb[gpu]",
    )  # fmt: skip


def _root(site: Site) -> Check:
    root = site.sessions_root
    there = root
    while not there.exists():
        there = there.parent
    writable = os.access(there, os.W_OK | os.X_OK)
    free = shutil.disk_usage(there).free / 2**30
    advice = "" if writable else "give another root in the site file or with --root"
    return Check(
        what="sessions", found=f"{root}, {free:,.0f} GiB free", ok=writable and free > 1, advice=advice
    )


def _file_systems(site: Site) -> list[Check]:
    """What sessions and data lie on; where other machines write, only scanning finds movies."""
    mounts = {Path(p.mountpoint): p.fstype for p in psutil.disk_partitions(all=True)}
    found = []
    for place in (site.sessions_root, *site.data_roots):
        there = next(p for p in (place, *place.parents) if p.exists()).resolve()
        kind = next((mounts[p] for p in (there, *there.parents) if p in mounts), "unknown")
        missing = "" if place.exists() or place == site.sessions_root else "it is not there (now)"
        advice = "raise transfer.settle to 60 s: other machines write here" if kind in NETWORK else missing
        found.append(
            Check(what="file system", found=f"{place}: {kind}", ok=not advice, optional=True, advice=advice)
        )
    return found


def _voila() -> Check:
    """Pages for people who must not run code: only Voilà on its own drops what they send."""
    from jupyter_core.paths import jupyter_config_path
    from jupyter_server.extension.config import ExtensionConfigManager

    enabled = ExtensionConfigManager(read_config_path=jupyter_config_path()).get_jpserver_extensions()
    extension = any(on and name.startswith("voila") for name, on in enabled.items())
    advice = "/voila of a Jupyter server lets its users run code; give staff `nextpyp-nb serve` instead"
    return Check(
        what="Voilà", ok=not extension, optional=True, advice=advice if extension else "",
        found=f"on its own by `nextpyp-nb serve`{', and in Jupyter servers as /voila' if extension else ''}",
    )  # fmt: skip


def _sqlite(site: Site) -> Check:
    """Write-ahead logging must work where sessions lie; some network disks cannot."""
    there = site.sessions_root
    while not there.exists() or not os.access(there, os.W_OK):
        if there == there.parent:
            break
        there = there.parent
    try:
        with tempfile.TemporaryDirectory(dir=there) as folder:
            probe = sqlite3.connect(Path(folder) / "probe.db")
            mode = probe.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            probe.close()
    except (OSError, sqlite3.Error) as error:
        mode = str(error)
    version = sqlite3.sqlite_version_info
    advice = "" if mode == "wal" else "put sessions on a local disk: this one cannot hold a live database"
    if version < SQLITE:
        advice = f"too old: take a Python with SQLite {'.'.join(map(str, SQLITE))} or later"
    race = "" if version >= SQLITE_MENDED else ", one writer only (as sessions have it)"
    return Check(
        what="SQLite", found=f"{sqlite3.sqlite_version}, journal {mode}{race}", ok=not advice, advice=advice
    )


def _inotify() -> Check:
    path = Path("/proc/sys/fs/inotify/max_user_watches")
    watches = int(path.read_text()) if path.is_file() else 0
    return Check(
        what="file watching", found=f"{watches:,} inotify watches", ok=watches >= 8192, optional=True,
        advice="" if watches >= 8192 else "only scanning finds movies; raise fs.inotify.max_user_watches",
    )  # fmt: skip


def _relion() -> Check:
    found = shutil.which("relion_refine")
    return Check(what="RELION", found=found or "not installed", ok=bool(found), optional=True,
                 advice="" if found else "only needed to go on with exported particles here")  # fmt: skip
