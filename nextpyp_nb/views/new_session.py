"""New session: the few settings nobody can guess."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nextpyp_nb.session import create_session
from nextpyp_nb.session.groups import hub_groups
from nextpyp_nb.settings import Settings, read_site
from nextpyp_nb.views.form import Form
from nextpyp_nb.views.late import Box, Combobox, Text
from nextpyp_nb.views.markup import markup
from nextpyp_nb.views.pieces import Banner, button, column, flag, guarded, row, say, text
from nextpyp_nb.views.settings_tools import FromMicroscope, Profiles
from nextpyp_nb.views.state import LiveState

FIELDS = (
    "raw_data.location",
    "gain.reference",
    "microscope.pixel_size",
    "microscope.voltage",
    "microscope.dose",
    "picking.radius",
)


class NewSession(Box):
    """A short form; errors stand beside their field."""

    def __init__(
        self,
        banner: Banner,
        created: Callable[[Any], None],
        root: Path | None = None,
        cancelled: Callable[[], None] = lambda: None,
    ) -> None:
        self.banner, self._created, self.root = banner, created, root
        site = read_site()
        self.name = Text(placeholder="such as apof-krios2", tooltip="Name")
        self.group = Combobox(
            options=sorted({*site.groups, *hub_groups(site)}),
            placeholder=site.default_group or "none",
            ensure_option=False,
            tooltip="Group",
        )
        self.name_error = text("", "nb-field-error")
        items = {item.key: item for item in Settings.items()}
        self.form = Form([items[key] for key in FIELDS], Settings(), data_roots=site.data_roots)
        # Nothing is followed here: it only reads beside the page.
        live = LiveState(lambda: None, lambda: 0, banner=banner)
        self.noted = FromMicroscope(self.form, live)
        self.profiles = Profiles(self.form, live, self.begin_with)
        self.create = button("Create session", self.create_session, "nb-primary", "nb-create")
        self.name_line = _line("Name", self.name, self.name_error, "nb-field-name")
        self.group_line = _line("Group", self.group, text(""), "nb-field-group")
        foot = row(
            self.create,
            button("Back", cancelled, "nb-back"),
            text("The movies can come later; other settings are on the Settings page.", "nb-muted"),
        )
        card = column(
            row(text("New session", "nb-strong", "nb-grow"), self.profiles, classes=("nb-card-title",)),
            column(self.name_line, self.group_line, self.form),
            self.noted,
            foot,
            classes=("nb-card",),
        )
        super().__init__([card])
        for name in ("nb-column", "nb-pages", "nb-new-session"):
            self.add_class(name)

    @guarded
    def create_session(self) -> None:
        """Make the session, or say beside each field what is wrong."""
        settings = self.form.read(complete=True)
        name = self.name.value.strip()
        self._say_name("" if name else "missing: give the session a name")
        if settings is None or not name:
            return
        try:
            session = create_session(
                name, settings=settings, root=self.root, group=self.group.value.strip() or None
            )
        except (FileExistsError, ValueError) as error:
            self._say_name(str(error))
        else:
            self._created(session)

    @guarded
    def begin_with(self, values: dict[str, Any]) -> None:
        """Take a profile as what is not in this form; what was typed here stays."""
        typed = self.form.edits()
        self.form.put(Settings().updated(values))
        self.form.fill(typed)

    def _say_name(self, problem: str) -> None:
        say(self.name_error, problem)
        flag(self.name_line, "nb-invalid", bool(problem))


def _line(label: str, control: Any, problem: Any, name: str) -> Box:
    made = Box(
        [
            text(markup('<span class="nb-field-label"><i></i>{label}</span>', label=label)),
            control,
            text(""),
            problem,
        ]
    )
    for part in ("nb-field", name):
        made.add_class(part)
    return made
