"""What a user may set: one frozen model, a file a tab; and the facts of the machine."""

from nextpyp_nb.settings.model import TABS, Item, Settings, SettingsError
from nextpyp_nb.settings.site import Site, read_site

__all__ = ["TABS", "Item", "Settings", "SettingsError", "Site", "read_site"]
