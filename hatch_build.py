"""Wheels hold the JupyterLab extension: built anew when its sources changed and Node is there."""

import runpy
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class LabExtension(BuildHookInterface):
    """Brings labextension/prebuilt up to date; without Node the one that is there goes in."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build when stale."""
        extension = runpy.run_path(str(Path(self.root) / "labextension" / "build.py"))
        if extension["is_fresh"]():
            return
        try:
            extension["build"]()
        except (OSError, subprocess.CalledProcessError) as error:
            if not (Path(self.root) / "labextension" / "prebuilt" / "package.json").is_file():
                raise
            self.app.display_warning(f"the JupyterLab extension is packed as it was built before: {error}")
