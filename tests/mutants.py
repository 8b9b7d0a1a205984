"""Do the tests notice? Each known mistake goes into a copy of the package; some test must then fail.

python tests/mutants.py [--out FILE] [NAME ...]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FAULTS = "tests/bench/test_faults.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """``old`` becomes ``new`` in ``file``; ``tests`` (pytest's words) should notice."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = (
    Mutant(
        name="write to the final name", file="tracks/copying.py",
        old='    part = destination.parent / f".{destination.name}{PART}"\n',
        new="    part = destination\n", tests="tests/tracks/test_copying.py",
    ),
    Mutant(
        name="publish over what is there", file="tracks/copying.py",
        old="        os.link(part, destination)\n", new="        os.replace(part, destination)\n",
        tests="tests/tracks/test_copying.py tests/tracks/test_promises.py",
    ),
    Mutant(
        name="take what lies at the destination unseen", file="tracks/copying.py",
        old="if destination.stat().st_size == found.size and digest == digest_of(found.source):",
        new="if destination.stat().st_size:", tests="tests/tracks/test_copying.py",
    ),
    Mutant(
        name="do not look at the source again after reading", file="tracks/copying.py",
        old='    unchanged(found, "was read; it will be copied again")\n'
        "    if part.stat().st_size != found.size:",
        new="    if False:", tests="tests/tracks/test_copying.py",
    ),
    Mutant(
        name="delete before verifying", file="tracks/copying.py",
        old="    if digest_of(path, from_disk=True) != digest:",
        new="    found.source.unlink()\n    if digest_of(path) != digest:",
        tests="tests/tracks/test_copying.py",
    ),
    Mutant(
        name="delete the only copy as if it were its own source", file="tracks/copying.py",
        old="    if _in_place(found, path):\n", new="    if False:\n",
        tests="tests/tracks/test_copying.py -k in_place",
    ),
    Mutant(
        name="look only once where a link leads", file="tracks/copying.py",
        old="        if roots is not None:\n            # Again",
        new="        if False:\n            # Again",
        tests="tests/tracks/test_transfer.py -k after_the_look",
    ),
    Mutant(
        name="bring along what a link beside the movies leads to", file="tracks/side_files.py",
        old="operation, throttle, roots)", new="operation, throttle)",
        tests="tests/tracks/test_transfer.py -k brings_no_other",
    ),
    Mutant(
        name="begin what a job cannot finish", file="engine/machine.py",
        old="(takes if self.tried else 0.0)", new="0.0",
        tests="tests/engine/test_dask.py -k longer_than_a_job",
    ),
    Mutant(
        name="delete a source that changed", file="tracks/copying.py",
        old='    unchanged(found, "was moved; the source is kept")\n', new="",
        tests="tests/tracks/test_copying.py",
    ),
    Mutant(
        name="delete without being asked to move", file="tracks/intake.py",
        old='elif row["operation"] == "move" and', new="elif", tests=f"{FAULTS} -k combination",
    ),
    Mutant(
        name="delete at once, without holding back", file="tracks/intake.py",
        old='if row["transferred"] <= time.time() - self._hold:', new="if True:",
        tests=f"{FAULTS} -k combination",
    ),
    Mutant(
        name="acknowledge before the work", file="tracks/transfer.py",
        old="            done = await asyncio.to_thread(\n",
        new="            store.movie_done(movie.id, path='raw', size=0, hash='')\n"
        "            done = await asyncio.to_thread(\n",
        tests=f"{FAULTS} -k killed_run",
    ),
    Mutant(
        name="no check of the epoch", file="session/database.py",
        old="        if newest != self.epoch:", new="        if False:",
        tests="tests/session/test_lease.py tests/session/test_store.py -k 'epoch or fenced'",
    ),
    Mutant(
        name="no lock of the session", file="session/lease.py",
        old="        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)", new="        pass",
        tests="tests/session/test_lease.py -k lock_decides",
    ),
    Mutant(
        name="drop what is out of reach", file="tracks/intake.py",
        old='dict.fromkeys(gone, "offline")', new='dict.fromkeys(gone, "ignored")',
        tests="tests/tracks/test_transfer.py -k offline",
    ),
    Mutant(
        name="clean up partial files of others", file="tracks/transfer.py",
        old='.rglob(f".*{PART}")', new='.rglob(".*.part")', tests=f"{FAULTS} -k 'F1 and copying'",
    ),
    Mutant(
        name="take movies by age alone", file="tracks/settling.py",
        old="            seen.reason = self.check(movie.source) or self._too_short(movie, seen, now)",
        new='            seen.reason = ""', tests=f"{FAULTS} -k F4",
    ),
    Mutant(
        name="take movies that still grow", file="tracks/settling.py",
        old="seen is None or seen.signature != movie.signature", new="seen is None",
        tests="tests/tracks/test_finding.py",
    ),
    Mutant(
        name="believe a compressed copy unread", file="tracks/compressing.py",
        old=" or digests != _digests(\n        part, movie.n_frames\n    ):", new=":",
        tests="tests/tracks/test_compressing.py",
    ),
    Mutant(
        name="pages not flipped", file="formats/tiff.py", old="np.ascontiguousarray(frame[::-1])",
        new="np.ascontiguousarray(frame)", tests="tests/tracks/test_compressing.py",
    ),
    Mutant(
        name="count an attempt after the work", file="session/tasks.py",
        old="UPDATE task SET state = 'running', attempts = attempts + 1,",
        new="UPDATE task SET state = 'running',",
        tests="tests/session/test_store.py -k attempts",
    ),
    Mutant(
        name="a round's state that forgets what it went on from", file="session/rounds.py",
        old='previous=None if previous is None else previous["number"],', new="previous=None,",
        tests="tests/session/test_store.py -k batch",
    ),
    Mutant(
        name="believe a result that was written over", file="session/tasks.py",
        old='no_more = "".join(', new='no_more = "" and "".join(',
        tests="tests/session/test_store.py -k wrote_over",
    ),
    Mutant(
        name="take a stage's files for those of any settings", file="tracks/kept.py",
        old='if here is not None and here["key"] == key and', new="if here is not None and",
        tests="tests/tracks/test_kept.py",
    ),
    Mutant(
        name="let an operator name any place", file="session/inbox.py",
        old='if what == "operator" and (more', new="if False and (more",
        tests="tests/session/test_inbox.py tests/session/test_rights.py -k 'plugin or borrow'",
    ),
    Mutant(
        name="put strange files where a member's link leads", file="session/inbox.py",
        old='refused = path.parent.parent / "refused"', new='refused = path.parent / "refused"',
        tests="tests/session/test_inbox.py tests/session/test_rights.py -k 'hostile or nowhere'",
    ),
    Mutant(
        name="look past files that are missing", file="tracks/self_check.py",
        old="and not os.path.lexists(path)", new="and False",
        tests="tests/tracks/test_self_check.py",
    ),
)  # fmt: skip


def caught(mutant: Mutant) -> bool:
    """Whether the mutant's tests fail on a copy of the package that has its mistake."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as place:
        copy = Path(place)
        for name in ("nextpyp_nb", "tests", "notebooks", "templates"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        path = copy / "nextpyp_nb" / mutant.file
        text = path.read_text()
        if text.count(mutant.old) < 1:
            raise SystemExit(f"{mutant.name}: {mutant.file} has no {mutant.old.strip()!r} any more")
        path.write_text(text.replace(mutant.old, mutant.new))
        command = f"{sys.executable} -m pytest -q -x -p no:cacheprovider {mutant.tests}"
        done = subprocess.run(
            ["sh", "-c", command], cwd=copy, env={**os.environ, "PYTHONPATH": place},
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        if done.returncode not in (0, 1):
            raise SystemExit(
                f"{mutant.name}: the tests did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        return done.returncode == 1


def main() -> int:
    """Try all mutants, or those named; 1 when one was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    rows = []
    for mutant in MUTANTS:
        if options.names and mutant.name not in options.names:
            continue
        rows.append({"name": mutant.name, "caught": caught(mutant)})
        print(f"{'caught' if rows[-1]['caught'] else 'MISSED'}  {mutant.name}", flush=True)
    if options.out:
        options.out.parent.mkdir(exist_ok=True)
        options.out.write_text(json.dumps(rows, indent=1))
    return 0 if all(row["caught"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
