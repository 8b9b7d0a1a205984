"""``nextpyp-nb hub-groups``: a service of JupyterHub that writes down who is in which of its groups."""

import argparse
import json
import os
import time
import urllib.request
from pathlib import Path
from typing import Any

from nextpyp_nb.session.json_file import write_json

PAGE = 100


def add_hub_groups(groups: argparse.ArgumentParser) -> None:
    """Where the groups go, and how often."""
    groups.add_argument("file", type=Path, metavar="FILE", help="the hub_groups of the site file")
    groups.add_argument("--every", type=float, default=20.0, metavar="S", help="seconds (default 20)")
    groups.add_argument("--once", action="store_true", help="write them once and end")
    groups.set_defaults(command=_hub_groups)


def hub_groups(api: str, token: str) -> dict[str, list[str]]:
    """All groups of the hub with their members; the token needs the scopes list:groups and read:groups."""
    found: dict[str, list[str]] = {}
    while True:
        asked = urllib.request.Request(
            f"{api}/groups?offset={len(found)}&limit={PAGE}", headers={"Authorization": f"token {token}"}
        )
        with urllib.request.urlopen(asked, timeout=10) as answer:
            groups: list[dict[str, Any]] = json.load(answer)
        found |= {group["name"]: sorted(group["users"]) for group in groups}
        if len(groups) < PAGE:
            return found


def _hub_groups(options: argparse.Namespace) -> None:
    try:
        api, token = os.environ["JUPYTERHUB_API_URL"], os.environ["JUPYTERHUB_API_TOKEN"]
    except KeyError as missing:
        raise ValueError(
            f"{missing.args[0]} is not set: this is a service of JupyterHub, see docs/site.md"
        ) from None
    # Names of people, for the runners of all accounts to read.
    os.umask(0o022)
    while True:
        write_json(options.file, hub_groups(api, token))
        if options.once:
            return
        time.sleep(options.every)
