"""Who opens the page of a service of JupyterHub: asked of the hub, and told to the kernel of the page."""

from typing import Any

from jupyter_server.utils import url_path_join
from jupyterhub.singleuser.extension import JupyterHubIdentityProvider
from traitlets import Unicode

# Whatever a browser sends under this name is replaced.
HEADER = "X-Nextpyp-Person"


class HubPeople(JupyterHubIdentityProvider):
    """Lets in whom a role of the hub gives access to this service."""

    # Ours is nothing that a browser could show instead of a person.
    token = Unicode("")

    async def get_user(self, handler: Any) -> Any:
        """The person, or None; the request's header names them for Voilà's kernels."""
        user = await super().get_user(handler)
        handler.request.headers[HEADER] = user.username if user else ""
        return user

    def get_handlers(self) -> list[Any]:
        """Where the hub sends people back to; Voilà adds no prefix to it."""
        return [(url_path_join(self.parent.base_url, path), *more) for path, *more in super().get_handlers()]
