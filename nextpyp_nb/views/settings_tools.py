"""Beside the form of settings: what the microscope noted, the gain checked, profiles, earlier revisions."""

import base64
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nextpyp_nb.session.launch import ask_program
from nextpyp_nb.session.profiles import delete_profile, profile_names, read_profile, save_profile
from nextpyp_nb.session.reach import check_served
from nextpyp_nb.views.form import Form, written
from nextpyp_nb.views.late import Box, Button, Combobox, Dropdown
from nextpyp_nb.views.markup import clock, markup
from nextpyp_nb.views.pieces import button, guarded, row, say, text
from nextpyp_nb.views.state import LiveState

CHOOSE = "earlier revision…"
GAIN = ("gain.rotation", "gain.flip_horizontal", "gain.flip_vertical", "gain.operation")


class FromMicroscope(Box):
    """Fills fields from EPU's XML or SerialEM's mdoc files; what differs is shown, never overwritten."""

    def __init__(self, form: Form, live: LiveState) -> None:
        self.form, self.live, self.banner = form, live, live.banner
        self.fill = button(
            "Fill from metadata", self.look, "nb-from-metadata",
            tooltip="Read what EPU or SerialEM noted beside the first movies",
        )  # fmt: skip
        self.told, self.choices = text("", "nb-small"), row(classes=("nb-from-choices",))
        super().__init__([row(self.fill, self.told), self.choices])
        self.add_class("nb-column")

    @guarded
    def look(self) -> None:
        """Ask what lies beside the movies that the form names."""
        location = str(self.form.fields["raw_data.location"].value).strip()
        if not location:
            raise ValueError("say first where the movies are (Raw data, Location)")
        check_served(location)
        say(self.told, "Reading…")
        self.live.fetch(lambda: _asked(location), self._take)

    def _take(self, noted: dict[str, Any] | str) -> None:
        if isinstance(noted, str):
            say(self.told, markup('<span class="nb-failed-text">{noted}</span>', noted=noted))
            return
        filled, agreed, differing = [], [], {}
        for key, value in noted["found"].items():
            field = self.form.fields.get(key)
            if field is None:
                continue
            ours = str(field.value).strip()
            if ours in ("", written(field.item.default)):
                self.form.fill({key: value})
                filled.append(field.item.label)
            elif _same(ours, value):
                agreed.append(field.item.label)
            else:
                differing[key] = value
        say(self.told, self._sentence(noted, filled, agreed, differing))
        self.choices.children = tuple(self._use(key, value) for key, value in differing.items())

    def _sentence(self, noted: dict[str, Any], filled: list[str], agreed: list[str], differing: Any) -> str:
        if not noted["files"]:
            return "No XML or mdoc lies beside the movies (yet)."
        parts = [f"From {noted['files']} files such as {noted['first']}"]
        if filled:
            parts.append(f"filled: {', '.join(filled)}")
        if agreed:
            parts.append(f"agreeing: {', '.join(agreed)}")
        if differing:
            parts.append(f"conflicting: {', '.join(self.form.fields[key].item.label for key in differing)}")
        for key, values in noted["conflicts"].items():
            among = ", ".join(f"{value:g}" for value in values)
            parts.append(f"{key} differs among the movies: {among}")
        return "; ".join(parts) + "."

    def _use(self, key: str, value: float) -> Button:
        item = self.form.fields[key].item

        def use() -> None:
            self.form.fill({key: value})
            self.choices.children = tuple(child for child in self.choices.children if child is not made)

        ours = self.form.fields[key].value
        made = button(f"{item.label}: use {value:g} instead of {ours} {item.unit}", use, "nb-use-noted")
        return made


class GainCheck(Box):
    """Shows whether the gain reference, as it stands in the form, fits the session's first movies."""

    def __init__(self, session: Any, form: Form, live: LiveState) -> None:
        self.session, self.form, self.live, self.banner = session, form, live, live.banner
        self.start = button(
            "Check the gain", self.check, "nb-check-gain",
            tooltip="All eight orientations, multiply and divide, on the first movies",
        )  # fmt: skip
        self.told = text("", "nb-gain-told")
        super().__init__([row(self.start), self.told])
        self.add_class("nb-column")

    @guarded
    def check(self) -> None:
        """Check it in a process of its own."""
        values = [f"{key}={self.form.fields[key].value}" for key in GAIN if key in self.form.fields]
        reference = str(self.form.fields["gain.reference"].value).strip()
        if not reference:
            raise ValueError("there is no gain reference to check")
        check_served(reference)
        where = ["--root", str(self.session.folder.parent), self.session.name, "--gain", reference]
        say(self.told, "Checking on the first movies…")
        self.start.disabled = True
        self.live.fetch(lambda: _checked(where, values), self._show)

    def _show(self, found: tuple[str, str]) -> None:
        self.start.disabled = False
        told, picture = found
        shown = markup(
            '<img class="nb-gain-picture" alt="Frames raw, as set, as proposed" '
            'src="data:image/jpeg;base64,{picture}"><span class="nb-muted nb-small">'
            "frames raw, as set, as proposed</span>",
            picture=picture,
        )
        say(self.told, markup("<pre>{told}</pre>{shown}", told=told, shown=shown if picture else ""))


class Profiles(Box):
    """Settings kept under a name, and put into the form again."""

    def __init__(self, form: Form, live: LiveState, load: Callable[[dict[str, Any]], None]) -> None:
        self.form, self.live, self.banner, self._load = form, live, live.banner, load
        self.name = Combobox(
            placeholder="profile",
            tooltip="Name of a profile",
            options=tuple(profile_names()),
            ensure_option=False,
        )
        self.name.add_class("nb-profile")
        super().__init__(
            [
                self.name,
                button("Load", self.load, "nb-profile-load", tooltip="Put its settings into the form"),
                button("Keep", self.keep, "nb-profile-keep", tooltip="Keep these settings under this name"),
                button("Forget", self.forget, "nb-profile-forget", tooltip="Delete the profile"),
            ]
        )
        self.add_class("nb-row")

    @guarded
    def load(self) -> None:
        """Put a profile's settings into the form, as edits."""
        self._load(read_profile(self.name.value.strip()))

    @guarded
    def keep(self) -> None:
        """Keep what stands in the form, paths left out."""
        settings = self.form.read()
        if settings is None:
            raise ValueError("some settings cannot be; see beside the fields")
        path = save_profile(self.name.value.strip(), settings)
        self._again()
        self.banner.tell(f"Kept as profile {path.stem}; where data lie is not part of it.")

    @guarded
    def forget(self) -> None:
        """Delete a profile."""
        delete_profile(self.name.value.strip())
        self.name.value = ""
        self._again()

    def _again(self) -> None:
        self.name.options = tuple(profile_names())


class Revisions(Box):
    """Settings as they were saved before, to be taken back."""

    def __init__(self, session: Any, chosen: Callable[[int], None]) -> None:
        self.session, self._chosen, self._listed = session, chosen, 0
        self.choice = Dropdown(options=[CHOOSE], tooltip="Earlier settings")
        self.choice.observe(self._take, "value")
        super().__init__([self.choice])
        self.add_class("nb-revisions")

    def draw(self, newest: int) -> None:
        """List them when there is a new one."""
        if newest == self._listed:
            return
        self._listed = newest
        self.choice.unobserve(self._take, "value")
        lines = [
            (f"{saved.number}: {clock(saved.time)}, {saved.actor}", saved.number)
            for saved in reversed(self.session.revisions())
        ]
        self.choice.options = [(CHOOSE, 0), *lines]
        self.choice.value = 0
        self.choice.observe(self._take, "value")

    def _take(self, change: Any) -> None:
        if change["new"]:
            self._chosen(int(change["new"]))


def _same(typed: str, value: float) -> bool:
    try:
        return abs(float(typed) - value) <= 0.005 * abs(value)
    except ValueError:
        return False


def _asked(location: str) -> dict[str, Any] | str:
    try:
        noted: dict[str, Any] = json.loads(ask_program("metadata", "--data", location, "--json"))
    except RuntimeError as error:
        return str(error)
    return noted


def _checked(where: list[str], values: list[str]) -> tuple[str, str]:
    """What the check says, and its picture in base64; the reason when it cannot be made."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "check.jpg"
        settings = [part for value in values for part in ("--set", value)]
        try:
            told = ask_program("gain-check", *where, *settings, "--picture", str(picture))
        except RuntimeError as error:
            return str(error), ""
        return told, base64.b64encode(picture.read_bytes()).decode() if picture.is_file() else ""
