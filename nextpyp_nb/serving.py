"""The page of a session, or the list of sessions, served by Voilà: on loopback, for those with its token."""

import json
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Any

import nbformat

from nextpyp_nb.pages import filled_notebook, page_templates
from nextpyp_nb.session.groups import PERSON_IN
from nextpyp_nb.session.reach import SERVED

LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Closed pages: their kernels are ended after so long. Those that wait for a page are not.
IDLE = 120
# Before the page itself, where people are told apart: a kernel that waits for a page learns whose it is.
WHO = "import nextpyp_nb.views\nfrom voila.utils import wait_for_request\n\nwait_for_request()"


def page_server(
    folder: Path, *, session: str | None, root: Path | None, port: int, address: str = "127.0.0.1",
    base_url: str = "/", token: str | None = None, kernels: int = 0, person: str = "", hub: bool = False,
) -> tuple[list[str], dict[str, str]]:  # fmt: skip
    """Command and environment of a Voilà for one page, written into the private ``folder``.

    ``session`` None is the list of sessions; ``token`` None makes one, "" asks for none; ``kernels`` wait
    ready. Nothing but this page is served: no other notebook, no file, and clients execute no code.
    The page acts for whom the header ``person`` of a request names, as a proxy in front sets it, or with
    ``hub`` for whom JupyterHub lets in; else for our account.
    """
    parameters = {"root": "" if root is None else str(root)}
    name = "sessions.ipynb" if session is None else "session.ipynb"
    page = folder / "page.ipynb"
    notebook = filled_notebook(name, **parameters, **({"session": session} if session else {}))
    if person:
        notebook.cells.insert(0, nbformat.v4.new_code_cell(WHO))
    nbformat.write(notebook, page)
    config: dict[str, Any] = {
        "Voila": {
            "ip": address, "port": port, "port_retries": 0, "open_browser": False, "base_url": base_url,
            "token": secrets.token_urlsafe(24) if token is None else token,
        },
        "VoilaConfiguration": {
            "template": "nextpyp", "strip_sources": True, "file_allowlist": ["^$"],
            "preheat_kernel": kernels > 0, "default_pool_size": max(1, kernels),
            "multi_kernel_manager_class": "nextpyp_nb.page_kernels.PageKernels",
            # The side bar needs JupyterLab's file browser, and fails where there is none.
            "extension_denylist": ["nextpyp-nb"],
            "http_header_envs": [person] if person else [],
        },
        "MappingKernelManager": {"cull_idle_timeout": IDLE, "cull_interval": IDLE // 4},
        # Sockets of the file system: other users of the machine cannot listen in.
        "KernelManager": {"transport": "ipc"},
    }  # fmt: skip
    if hub:
        config["Voila"]["identity_provider_class"] = "nextpyp_nb.hub_people.HubPeople"
    path = folder / "voila.json"
    path.touch(0o600)
    path.write_text(json.dumps(config, indent=1))
    search = os.pathsep.join(filter(None, (str(page_templates()), os.environ.get("JUPYTER_PATH"))))
    # Only this folder's configuration counts: another one could take the token away.
    command = [sys.executable, "-m", "voila", str(page), f"--Voila.config_file_paths={folder}"]
    who = {PERSON_IN: f"HTTP_{person.upper().replace('-', '_')}"} if person else {}
    return command, {"JUPYTER_PATH": search, SERVED: "1"} | who


def page_url(folder: Path) -> str:
    """Where the page of ``folder`` is to be found, its token included."""
    server = json.loads((folder / "voila.json").read_text())["Voila"]
    query = f"?token={server['token']}" if server["token"] else ""
    return f"http://{server['ip']}:{server['port']}{server['base_url']}{query}"


def answers(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


# Ports, and the descriptors by which they are claimed as long as this process lives.
_claimed: dict[int, int] = {}


def free_port(wanted: int) -> int:
    """The first port from ``wanted`` on that is free, and that no other process of ours is about to take."""
    for port in range(wanted, wanted + 50):
        if not answers(port) and _claim(port):
            return port
    raise OSError(f"no free port between {wanted} and {wanted + 50}; give another with --port")


def _claim(port: int) -> bool:
    """Whether this process is the one that may take ``port``: a name of the kernel's that goes with it."""
    if port in _claimed:
        return True
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0nextpyp-nb-port-{port}")
    except OSError:
        claim.close()
        return False
    _claimed[port] = claim.detach()
    return True
