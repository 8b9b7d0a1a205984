"""Settings ↔ widgets: one line a setting, errors beside the field, files chosen by looking."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from nextpyp_nb.settings import Item, Settings, SettingsError
from nextpyp_nb.views.late import Box, Button, Checkbox, Dropdown, Select, Text
from nextpyp_nb.views.markup import markup
from nextpyp_nb.views.pieces import button, flag, say, show, text


class Field(Box):
    """One setting: label with its help, control, unit, and what is wrong with it."""

    def __init__(self, item: Item, changed: Callable[[], None], data_roots: Iterable[Path] = ()) -> None:
        self.item = item
        label = text(
            markup(
                '<span class="nb-field-label" title="{help}"><i></i>{label}</span>',
                help=_help(item),
                label=item.label,
            )
        )
        self.control = _control(item)
        self.control.observe(lambda _: changed(), "value")
        self.problem = text("", "nb-field-error")
        after: Any = text(item.unit, "nb-muted")
        browser: tuple[Any, ...] = ()
        if item.path:
            self.browser = FileBrowser(self.control, item.path, data_roots)
            after, browser = self.browser.opener, (self.browser,)
        super().__init__([label, self.control, after, self.problem, *browser])
        for name in (
            "nb-field",
            f"nb-field-{item.section}-{item.name}",
            *(("nb-path",) if item.path else ()),
        ):
            self.add_class(name)

    @property
    def value(self) -> Any:
        """What stands in the control; `Settings.updated` converts text."""
        return self.control.value

    def put(self, value: Any) -> None:
        """Show a value."""
        self.control.value = value if isinstance(self.control, (Checkbox, Dropdown)) else written(value)

    def mark(self, *, changed: bool, problem: str = "") -> None:
        """Mark the field as changed, or say what is wrong with it."""
        flag(self, "nb-changed", changed)
        flag(self, "nb-invalid", bool(problem))
        say(self.problem, problem)


class Form(Box):
    """Fields over one set of settings, and the difference a user has made to them."""

    def __init__(
        self,
        items: Iterable[Item],
        settings: Settings,
        *,
        data_roots: Iterable[Path] = (),
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._changed, self._quiet, self.base = changed, False, settings
        roots = tuple(data_roots)
        self.fields = {item.key: Field(item, self._edited, roots) for item in items}
        self.problems: dict[str, str] = {}
        super().__init__(tuple(self.fields.values()))
        for name in ("nb-column", "nb-form"):
            self.add_class(name)
        self.put(settings)

    def put(self, settings: Settings) -> None:
        """Show these settings, as nothing changed."""
        self.base, self._quiet = settings, True
        flat = settings.flat()
        for key, field in self.fields.items():
            field.put(flat[key])
            field.mark(changed=False)
        self._quiet, self.problems = False, {}

    def fill(self, values: Mapping[str, Any]) -> None:
        """Put values into fields, as a user would; what is not in this form is left out."""
        self._quiet = True
        for key, value in values.items():
            if key in self.fields:
                self.fields[key].put(value)
        self._quiet = False
        self._edited()

    def edits(self) -> dict[str, Any]:
        """What a user changed, as it stands in the controls."""
        flat = self.base.flat()
        return {
            key: field.value
            for key, field in self.fields.items()
            if field.value
            != (flat[key] if isinstance(field.control, (Checkbox, Dropdown)) else written(flat[key]))
        }

    def read(self, *, complete: bool = False) -> Settings | None:
        """The settings in the form; None when something is wrong, which then stands beside its field."""
        edits, made = self.edits(), None
        self.problems = {}
        try:
            made = self.base.updated(edits)
            self.problems = made.missing() if complete else {}
        except SettingsError as error:
            self.problems = error.problems
        changes = self.base.changes(made) if made is not None else edits
        for key, field in self.fields.items():
            field.mark(changed=key in changes or key in self.problems, problem=self.problems.get(key, ""))
        return made if not self.problems else None

    def _edited(self) -> None:
        if not self._quiet:
            self.read()
            self._changed()


class FileBrowser(Box):
    """Looks through folders below the site's data roots (all, where none are named)."""

    def __init__(self, control: Text, wanted: str, roots: Iterable[Path] = ()) -> None:
        self.control, self.wanted, self.roots = control, wanted, tuple(roots)
        self.folder = Path()
        self.opener: Button = button("Browse…", self.toggle, "nb-browse")
        self.choice = Select(options=[], rows=8, tooltip="Files and folders")
        self.choice.observe(self._chosen, "value")
        self.where = text("", "nb-muted", "nb-small")
        super().__init__([self.where, self.choice])
        for name in ("nb-column", "nb-browser", "nb-hidden"):
            self.add_class(name)

    def toggle(self) -> None:
        """Open at the folder in the field, or close."""
        if "nb-hidden" not in self._dom_classes:
            return show(self, False)
        written_path = Path(str(self.control.value)).expanduser()
        start = next((p for p in (written_path, *written_path.parents) if p.is_dir()), None)
        if start is None or not start.is_absolute() or not self.allowed(start):
            start = self.roots[0] if self.roots else Path.home()
        self.look(start)
        return show(self, True)

    def allowed(self, folder: Path) -> bool:
        """Whether a folder lies below a root."""
        real = folder.resolve()
        return not self.roots or any(real.is_relative_to(root.resolve()) for root in self.roots)

    def look(self, folder: Path) -> None:
        """List a folder: where it leads, then its folders, then its files."""
        self.folder = folder
        options = [("..", folder.parent)] if folder != folder.parent and self.allowed(folder.parent) else []
        try:
            inside = sorted(folder.iterdir(), key=lambda p: (not p.is_dir(), p.name.lower()))
            say(self.where, str(folder))
        except OSError as error:
            inside = []
            say(self.where, f"{folder}: {error.strerror or error}")
        seen = [p for p in inside if not p.name.startswith(".") and (p.is_dir() or self.wanted != "folder")]
        options += [(f"{p.name}/" if p.is_dir() else p.name, p) for p in seen[:500]]
        self.choice.unobserve(self._chosen, "value")
        self.choice.options = options
        self.choice.value = None
        self.choice.observe(self._chosen, "value")

    def _chosen(self, change: Any) -> None:
        path = change["new"]
        if path is None or not self.allowed(path):
            # A link may lead out of the roots.
            return
        if path.is_dir():
            self.look(path)
            if self.wanted == "folder":
                self.control.value = str(path)
        elif self.wanted == "movies":
            self.control.value = str(path.parent / f"*{path.suffix}")
            show(self, False)
        else:
            self.control.value = str(path)
            show(self, False)


def written(value: Any) -> str:
    """A value as a person types it."""
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) and abs(value) < 1e6 else str(value)


def _control(item: Item) -> Any:
    if item.choices:
        return Dropdown(options=item.choices, tooltip=item.label)
    if item.kind is bool:
        return Checkbox(indent=False, tooltip=item.label)
    return Text(placeholder=_placeholder(item), tooltip=item.label)


def _placeholder(item: Item) -> str:
    if item.optional:
        if "Required" in item.explanation:
            return "required"
        return "automatic" if "when empty" in item.explanation else "none"
    return {"movies": "/folder/**/*.tiff", "file": "none", "folder": "none"}.get(item.path or "", "")


def _help(item: Item) -> str:
    parts = [item.explanation]
    if item.minimum is not None and item.maximum is not None:
        parts.append(f"From {item.minimum:g} to {item.maximum:g}{' ' + item.unit if item.unit else ''}.")
    if not item.optional and item.default not in ("", None):
        parts.append(f"Default {item.default}.")
    parts.append(f"In a cell or on the command line: {item.key}" + (f" ({item.alias})" if item.alias else ""))
    return " ".join(part for part in parts if part)
