"""Movies on another machine, by rsync over ssh: listed, their metadata mirrored, fetched one at a time."""

import os
import re
import subprocess
import time
from pathlib import Path

from nextpyp_nb.formats.check import whole
from nextpyp_nb.tracks.copying import (
    Changed,
    Conflict,
    Throttle,
    Transferred,
    digest_of,
    publish,
    sync_folder,
)
from nextpyp_nb.tracks.finding import Found, Listing, Offline, is_movie, side_of

# Never ask for a password or a host's key: nobody would see it.
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=10"
_LINE = re.compile(r"-\S+\s+([\d,]+) (\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) (.+)")
_MAGIC = re.compile(r"[*?]")
SILENCE = 60


def list_remote(place: str, listing: Listing, mirror: Path) -> None:
    """Add the movies of ``place`` (user@host:/folder or a pattern) to ``listing``.

    XML and mdoc files are mirrored below ``mirror``, and count as lying beside their movies.
    """
    host, _, pattern = place.partition(":")
    folder, wanted, deep = _parts(pattern)
    lines = _rsync("--list-only", "--no-h", "-8", "-r" if deep else "-d", "--exclude=.*", f"{host}:{folder}/")
    notes = _mirror(host, folder, mirror / re.sub(r"[^A-Za-z0-9._@-]", "_", host + folder), deep)
    for line in lines.splitlines():
        match = _LINE.fullmatch(line)
        if match is None or not is_movie(match[3].rpartition("/")[2]) or not wanted.fullmatch(match[3]):
            continue
        source = Path(f"{host}:{folder}/{match[3]}")
        base, name = source.name, str(source)
        side = side_of(base, notes.get(str(Path(match[3]).parent), {}))
        written = time.mktime(time.strptime(match[2], "%Y/%m/%d %H:%M:%S"))
        found = Found(
            source=source, size=int(match[1].replace(",", "")), mtime_ns=int(written) * 10**9, inode=0,
            side=None if side is None else Path(side),
        )  # fmt: skip
        listing.movies.append(name)
        listing.seen[name] = found
        if side is not None:
            listing.sides[name] = side


def fetch_movie(found: Found, part: Path, throttle: Throttle) -> None:
    """Bring a movie of another machine to ``part``, durably and whole; rsync verifies its content."""
    limit = [f"--bwlimit={max(1, int(throttle.rate / 1024))}"] if throttle.rate else []
    _rsync("--times", "--whole-file", "--inplace", *limit, str(found.source), str(part))
    with part.open("rb") as copy:
        os.fsync(copy.fileno())
    here = part.stat()
    if (here.st_size, int(here.st_mtime)) != (found.size, found.mtime_ns // 10**9):
        raise Changed(f"{found.source.name} changed while it was fetched; it will be fetched again")
    if missing := whole(part):
        raise Changed(f"{found.source.name} is not whole yet: {missing}")


def place_fetched(found: Found, part: Path, destination: Path) -> Transferred:
    """Give a fetched movie its final name, or adopt the same one that lies there."""
    digest = digest_of(part)
    if destination.exists():
        if digest_of(destination) != digest:
            raise Conflict(f"{destination.name} is there already with other content; both are kept")
        sync_folder(destination.parent)
    else:
        publish(part, destination)
    return Transferred(path=destination, size=found.size, digest=digest)


def _parts(pattern: str) -> tuple[str, re.Pattern[str], bool]:
    """The folder before the wildcards, what names below it must match, and whether to go into subfolders."""
    if not _MAGIC.search(pattern) and not is_movie(Path(pattern).name):
        pattern = f"{pattern.rstrip('/')}/**/*"
    parts = pattern.split("/")
    fixed = next((n for n, part in enumerate(parts) if _MAGIC.search(part)), len(parts) - 1)
    rest = parts[fixed:]
    words = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*|\?)", "/".join(rest))
    wanted = "".join(words.get(piece, re.escape(piece)) for piece in pieces)
    return "/".join(parts[:fixed]), re.compile(wanted, re.IGNORECASE), len(rest) > 1


def _mirror(host: str, folder: str, mirror: Path, deep: bool) -> dict[str, dict[str, str]]:
    """Keep the XML and mdoc files of a folder here; their paths by folder and lower-case name."""
    mirror.mkdir(parents=True, exist_ok=True)
    chosen = [f"--include=*{ending}" for ending in (".xml", ".mdoc", ".XML", ".MDOC")]
    _rsync("-t", "--prune-empty-dirs", "--max-size=5m", "-r" if deep else "-d", "--exclude=.*",
           "--include=*/", *chosen, "--exclude=*", f"{host}:{folder}/", f"{mirror}/")  # fmt: skip
    notes: dict[str, dict[str, str]] = {}
    for path in mirror.rglob("*.*"):
        notes.setdefault(str(path.parent.relative_to(mirror)), {})[path.name.lower()] = str(path)
    return notes


def _rsync(*arguments: str) -> str:
    command = ["rsync", "-s", "-e", _SSH, f"--timeout={SILENCE}", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise Offline("there is no rsync on this machine: install it, or mount the folder") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        # The first line is what ssh or the file system says, the last one only rsync's exit.
        raise Offline(f"rsync: {said[0] if said else f'exit status {done.returncode}'}")
    return done.stdout
