"""JupyterHub with a server for each scientist and the list of sessions as a page for staff; see site.md."""

import sys

c = get_config()  # noqa: F821  given by JupyterHub

# Who operates the microscopes. Groups may come from the authenticator instead.
c.JupyterHub.load_groups = {"staff": {"users": ["operator"]}, "scientists": {"users": ["ada"]}}

# The staff page: Voilà on loopback behind a proxy of its own, which asks the hub who it is.
c.JupyterHub.services = [
    {
        "name": "sessions",
        "url": "http://127.0.0.1:10101",
        "oauth_no_confirm": True,
        "command": [
            "jupyter-standaloneproxy", "--absolute-url", "--timeout=120", "--", sys.executable, "-m",
            "nextpyp_nb", "serve", "--behind-proxy", "--port", "{port}", "--base-url", "/services/sessions/",
        ],
    },
    # Writes down who is in which group, where the site file's hub_groups says.
    {
        "name": "groups",
        "command": [sys.executable, "-m", "nextpyp_nb", "hub-groups", "/etc/nextpyp-nb/hub-groups.json"],
    },
]  # fmt: skip
c.JupyterHub.load_roles = [
    {
        "name": "opens-the-staff-page",
        "groups": ["staff"],
        "scopes": ["access:services!service=sessions"],
    },
    {"name": "tells-groups", "services": ["groups"], "scopes": ["list:groups", "read:groups"]},
]

c.Spawner.default_url = "/lab"
