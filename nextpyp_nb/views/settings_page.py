"""The Settings page: every setting by tab, the difference made, and what it does again."""

from typing import Any

from nextpyp_nb.settings import TABS, Settings, read_site
from nextpyp_nb.views.form import Form, written
from nextpyp_nb.views.late import Box, Button, Checkbox
from nextpyp_nb.views.markup import Markup, joined, markup
from nextpyp_nb.views.pieces import button, column, flag, guarded, row, say, show, text
from nextpyp_nb.views.rerun import rerun_sentence
from nextpyp_nb.views.settings_tools import FromMicroscope, GainCheck, Profiles, Revisions
from nextpyp_nb.views.state import LiveState, Snapshot


class SettingsPage(Box):
    """All settings, generated from the model."""

    def __init__(self, session: Any, live: LiveState) -> None:
        self.session, self.live, self.banner = session, live, live.banner
        self._snapshot: Snapshot | None = None
        self.revision = session.revision
        roots = read_site().data_roots
        self.form = Form(Settings.items(), session.settings, data_roots=roots, changed=self._edited)
        self.tabs = {section: self._tab(section, title) for section, title in TABS.items()}
        self.advanced = Checkbox(description="Show advanced", indent=False)
        self.advanced.add_class("nb-advanced")
        self.advanced.observe(lambda _: self.choose(self.current), "value")
        self.difference = text("", "nb-grow", "nb-difference")
        self.save = button("Save", self.save_settings, "nb-primary", "nb-save")
        self.reset = button("Reset", self.reset_form, "nb-reset")
        self.noted = FromMicroscope(self.form, live)
        self.gain = GainCheck(session, self.form, live)
        self.profiles = Profiles(self.form, live, self.form.fill)
        self.revisions = Revisions(session, self.take_back)
        self.size = text("", "nb-muted", "nb-size-estimate")
        self.tools = {
            "raw_data": self.noted, "microscope": self.noted, "gain": self.gain, "picking": self.size
        }  # fmt: skip
        side = column(*self.tabs.values(), classes=("nb-card", "nb-side-tabs"))
        foot = row(self.difference, self.reset, self.save, classes=("nb-card", "nb-settings-foot"))
        right = column(
            column(
                row(
                    self.advanced, text("", "nb-grow"), self.revisions, self.profiles,
                    classes=("nb-settings-head",),
                ),
                self.form, self.noted, self.gain, self.size,
                classes=("nb-card",),
            ),
            foot,
            classes=("nb-settings-right",),
        )  # fmt: skip
        super().__init__([side, right])
        for name in ("nb-settings",):
            self.add_class(name)
        self.current = "raw_data"
        self.choose(self.current)
        self._edited()

    def draw(self, snapshot: Snapshot) -> None:
        """Take settings that were saved elsewhere, unless something is being edited here."""
        self._snapshot = snapshot
        self.revisions.draw(snapshot.revision)
        self._tell_size(snapshot)
        if snapshot.revision != self.revision and not self.form.edits():
            self.form.put(snapshot.settings)
            self.revision = snapshot.revision
        self._edited()

    def _tell_size(self, snapshot: Snapshot) -> None:
        """Say which radius stands in for an empty one."""
        found, control = snapshot.size_estimate, self.form.fields["picking.radius"].control
        placeholder = "empty: automatic" if found is None else f"{found.radius:g}, estimated"
        if control.placeholder != placeholder:
            control.placeholder = placeholder
        say(self.size, "" if found is None else f"Particle {found}; a radius given here takes its place.")

    @guarded
    def choose(self, section: str) -> None:
        """Show one tab."""
        self.current = section
        for name, tab in self.tabs.items():
            flag(tab, "nb-current", name == section)
        for field in self.form.fields.values():
            item = field.item
            show(field, item.section == section and (self.advanced.value or not item.advanced))
        for tool in (self.noted, self.gain, self.size):
            show(tool, self.tools.get(section) is tool)

    @guarded
    def save_settings(self) -> None:
        """Save a new revision; a field that is wrong says so and nothing is saved."""
        settings = self.form.read()
        if settings is None:
            self._edited()
            return self._show_first_problem()
        return self.live.do(
            lambda: self.session.save_settings(settings), self._saved(settings), doing="Save settings"
        )

    @guarded
    def take_back(self, revision: int) -> None:
        """Put the settings of an earlier revision into the form; Save makes them a new one."""
        self.form.fill(self.session.settings_of(revision).flat())

    @guarded
    def reset_form(self) -> None:
        """Back to the settings of the session."""
        self.form.put(self.session.settings)
        self.revision = self.session.revision
        self._edited()

    def _saved(self, settings: Settings) -> Any:
        def then(answer: Any) -> None:
            self.form.put(settings)
            self.revision = self.session.revision
            self._edited()
            self.banner.tell(getattr(answer, "message", "") or "Saved.")

        return then

    def _tab(self, section: str, title: str) -> Button:
        made = button(title, lambda: self.choose(section), f"nb-tab-{section}")
        made.remove_class("nb-button")
        made.add_class("nb-side-tab")
        return made

    def _show_first_problem(self) -> None:
        key = next(iter(self.form.problems))
        field = self.form.fields.get(key)
        if field is not None and field.item.advanced:
            self.advanced.value = True
        self.choose(key.partition(".")[0])

    @guarded
    def _edited(self) -> None:
        if not hasattr(self, "save"):
            return
        edits, problems = self.form.edits(), self.form.problems
        self.save.disabled = not edits
        self.reset.disabled = not edits
        for section, tab in self.tabs.items():
            flag(tab, "nb-changed", any(key.startswith(f"{section}.") for key in edits))
            flag(tab, "nb-invalid", any(key.startswith(f"{section}.") for key in problems))
        say(self.difference, self._difference(edits))

    def _difference(self, edits: dict[str, Any]) -> Markup:
        if not edits:
            return markup(
                '<span class="nb-muted">Revision {n} of the settings. Nothing is changed.</span>',
                n=self.revision,
            )
        flat = self.form.base.flat()
        rows = [
            markup(
                '<tr><td>{label}</td><td class="nb-muted">{old}</td><td>→ {new} {unit}</td></tr>',
                label=self.form.fields[key].item.label,
                old=written(flat[key]) or "empty",
                new=written(value) or "empty",
                unit=self.form.fields[key].item.unit,
            )
            for key, value in edits.items()
        ]
        return markup("<table>{rows}</table>{work}", rows=joined(rows), work=self._work())

    def _work(self) -> Markup:
        if self.form.problems:
            return markup(
                '<span class="nb-failed-text">{n} of them cannot be; see beside the field.</span>',
                n=len(self.form.problems),
            )
        made = self.form.base.updated(self.form.edits())
        seen = self._snapshot
        work = "redo nothing" if seen is None else rerun_sentence(self.form.base, made, seen)
        return markup('<span class="nb-rerun">Restart of the tracks will then {work}.</span>', work=work)
