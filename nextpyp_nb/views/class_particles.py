"""The particles of one class, as images."""

from typing import Any

from nextpyp_nb.views.class_files import Members, members, particle_images
from nextpyp_nb.views.late import Box
from nextpyp_nb.views.markup import markup, number
from nextpyp_nb.views.pieces import button, guarded, row, say, show, text
from nextpyp_nb.views.state import LiveState
from nextpyp_nb.views.widgets.particle_grid import ParticleGrid


class ClassParticles(Box):
    """A card that opens with particles spread over the session; a click opens the micrograph."""

    def __init__(self, session: Any, live: LiveState) -> None:
        self.session, self.live, self.banner = session, live, live.banner
        self.entry: dict[str, Any] = {}
        self.title = text("", "nb-grow")
        self.grid = ParticleGrid(self._open_micrograph)
        close = button("Close", lambda: show(self, False), "nb-close")
        super().__init__([row(self.title, close, classes=("nb-card-title",)), self.grid])
        for name in ("nb-column", "nb-card", "nb-class-members", "nb-hidden"):
            self.add_class(name)

    def draw(self, entry: dict[str, Any]) -> None:
        """Show particles of a class (a row of the table of classes)."""
        self.entry = entry

        def read() -> tuple[Members, Any]:
            mine = members(self.session, int(entry["round"]), int(entry["number"]))
            return mine, particle_images(self.session, mine)

        self.live.fetch(read, self._show)

    def _show(self, loaded: tuple[Members, Any]) -> None:
        of, (images, names) = loaded
        words = f"{len(images)} of {number(len(of.names))} particles"
        title = "<b>Class {identity}</b><span>{words}; a click opens the micrograph</span>"
        say(self.title, markup(title, identity=int(self.entry["identity"]), words=words))
        self.grid.show(images, names)
        show(self, True)

    @guarded
    def _open_micrograph(self, name: str) -> None:
        self.live.show_class(self.entry, name)
