"""JupyterHub with a server for each scientist and the list of sessions as a page for all; see site.md."""

import sys

c = get_config()  # noqa: F821  given by JupyterHub

# Who operates the microscopes, and who has samples there. Groups may come from the authenticator instead.
c.JupyterHub.load_groups = {"staff": {"users": ["operator"]}, "scientists": {"users": ["ada"]}}

# The staff page: Voilà on loopback, which asks the hub who it is and acts for that person.
c.JupyterHub.services = [
    {
        "name": "sessions",
        "url": "http://127.0.0.1:10101",
        "oauth_no_confirm": True,
        "command": [sys.executable, "-m", "nextpyp_nb", "serve", "--hub"],
    },
    # Writes down who is in which group, where the site file's hub_groups says.
    {
        "name": "groups",
        "command": [sys.executable, "-m", "nextpyp_nb", "hub-groups", "/etc/nextpyp-nb/hub-groups.json"],
    },
]  # fmt: skip
c.JupyterHub.load_roles = [
    {
        "name": "opens-the-page",
        "groups": ["staff", "scientists"],
        "scopes": ["access:services!service=sessions"],
    },
    {"name": "tells-groups", "services": ["groups"], "scopes": ["list:groups", "read:groups"]},
]

c.Spawner.default_url = "/lab"
