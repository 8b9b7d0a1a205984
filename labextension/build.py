"""Build the JupyterLab extension when its sources changed: ``python labextension/build.py`` (needs Node 20).

What is built lies in prebuilt/ and is kept with the sources, so that an installation needs no Node.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
STAMP = FOLDER / "prebuilt" / "sources.sha256"


def sources_digest() -> str:
    """One number for all that the build reads."""
    files = [FOLDER / "package.json", FOLDER / "package-lock.json", FOLDER / "tsconfig.json"]
    files += sorted((FOLDER / "src").iterdir()) + sorted((FOLDER / "style").iterdir())
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def is_fresh() -> bool:
    """Whether what is built was built from these sources."""
    return STAMP.is_file() and STAMP.read_text().strip() == sources_digest()


def build() -> None:
    """Install what the build needs, and build."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not here; install Node 20 to build the JupyterLab extension")
    subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=FOLDER, check=True)
    subprocess.run([npm, "run", "build"], cwd=FOLDER, check=True)
    STAMP.write_text(f"{sources_digest()}\n")


if __name__ == "__main__":
    if is_fresh():
        sys.stdout.write("labextension/prebuilt is built from these sources.\n")
    else:
        build()
