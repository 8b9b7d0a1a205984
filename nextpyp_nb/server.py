"""The few REST handlers behind the side bar and the previews in JupyterLab."""

import asyncio
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import tornado.web
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import ensure_async, url_path_join

DENIED = {PermissionError: 403, FileNotFoundError: 404}


class _Handler(APIHandler):
    """Answers in JSON; what goes wrong is a status and a sentence."""

    auth_resource = "contents"

    @property
    def login(self) -> str:
        """Who logged in here."""
        return str(self.current_user.username)

    async def answer(self, work: str, *arguments: Any) -> None:
        """Do ``work`` of `nextpyp_nb.lab` beside the server's loop, and send what it returns."""
        self.set_header("Content-Type", "application/json")
        try:
            found = await asyncio.to_thread(_do, work, *arguments)
        except (ValueError, TypeError, KeyError, OSError, RuntimeError) as error:
            self.set_status(next((code for kind, code in DENIED.items() if isinstance(error, kind)), 400))
            found = {"message": str(error.args[0] if isinstance(error, KeyError) and error.args else error)}
        self.finish(json.dumps(found))


class SessionsHandler(_Handler):
    """All sessions that we may see."""

    @tornado.web.authenticated
    @authorized
    async def get(self) -> None:
        """Send a line a session, newest first."""
        await self.answer("lab:sessions", self.login)


class CommandHandler(_Handler):
    """A session's start, stop, restart and cancel."""

    auth_resource = "kernels"

    @tornado.web.authenticated
    @authorized
    async def post(self, name: str, command: str) -> None:
        """Give a command; the answer is the runner's own."""
        await self.answer("lab:command", name, command, (self.get_json_body() or {}).get("track"), self.login)


class NotebookHandler(_Handler):
    """Notebooks of sessions, written beside the user's own."""

    @tornado.web.authenticated
    @authorized
    async def post(self) -> None:
        """Write the page of a session, of a new one or of the list, and send where it lies."""
        asked = self.get_json_body() or {}
        name, new = str(asked.get("session") or ""), bool(asked.get("new"))
        page, parameters = ("session", {"session": name}) if name else ("sessions", {"new": new})
        path = f"{asked.get('folder') or ''}/{name or ('new session' if new else 'sessions')}.ipynb".strip(
            "/"
        )
        contents = self.contents_manager
        if not await ensure_async(contents.file_exists(path)):
            notebook = await asyncio.to_thread(_do, "pages:filled_notebook", f"{page}.ipynb", **parameters)
            await ensure_async(contents.save({"type": "notebook", "content": notebook}, path))
        self.finish(json.dumps({"path": path}))


class PreviewHandler(_Handler):
    """A look into an MRC or a STAR file."""

    @tornado.web.authenticated
    @authorized
    async def get(self) -> None:
        """Send a picture or a table of the file at ``path``, as the file browser names it."""
        top = Path(self.settings["server_root_dir"])
        path = self.get_argument("path").lstrip("/")
        asked = self.get_argument("block", ""), self.get_argument("first", "0")
        await self.answer("lab:look", path, top, *asked)


def _do(work: str, *arguments: Any, **named: Any) -> Any:
    """Modules with array libraries are loaded when first asked for: JupyterLab starts without them."""
    module, _, function = work.partition(":")
    return getattr(import_module(f"nextpyp_nb.{module}"), function)(*arguments, **named)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "nextpyp_nb.server"}]


def _load_jupyter_server_extension(server_app: Any) -> None:
    base = url_path_join(server_app.web_app.settings["base_url"], "nextpyp-nb")
    server_app.web_app.add_handlers(
        ".*$",
        [
            (url_path_join(base, "sessions"), SessionsHandler),
            (url_path_join(base, r"sessions/([A-Za-z0-9._-]+)/([a-z]+)"), CommandHandler),
            (url_path_join(base, "notebook"), NotebookHandler),
            (url_path_join(base, "preview"), PreviewHandler),
        ],
    )
