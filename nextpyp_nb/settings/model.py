"""All settings of a session in one frozen model, and the ways people write them."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo

from nextpyp_nb.settings.class2d import Classification2d
from nextpyp_nb.settings.ctf import CtfEstimation
from nextpyp_nb.settings.fields import Section
from nextpyp_nb.settings.gain import GainReference
from nextpyp_nb.settings.microscope import Microscope
from nextpyp_nb.settings.motion import FrameAlignment
from nextpyp_nb.settings.picking import ParticleDetection
from nextpyp_nb.settings.raw_data import RawData, is_remote, places
from nextpyp_nb.settings.resources import Resources
from nextpyp_nb.settings.transfer import Transfer

TABS = {
    "raw_data": "Raw data",
    "gain": "Gain reference",
    "microscope": "Microscope",
    "transfer": "Transfer",
    "motion": "Frame alignment",
    "ctf": "CTF",
    "picking": "Particle detection",
    "class2d": "2D classification",
    "resources": "Resources",
}


class SettingsError(ValueError):
    """Settings that cannot be; ``problems`` maps "section.field" to a sentence."""

    def __init__(self, problems: dict[str, str]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{name}: {text}" for name, text in problems.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One setting as a form or a command line needs it."""

    section: str
    name: str
    label: str
    explanation: str
    unit: str
    alias: str | None
    advanced: bool
    path: str | None
    default: Any
    kind: Any
    optional: bool
    choices: tuple[str, ...]
    minimum: float | None
    maximum: float | None

    @property
    def key(self) -> str:
        """The name people type, "section.field"."""
        return f"{self.section}.{self.name}"


class Settings(Section):
    """Every number a user may set, by tab."""

    raw_data: RawData = Field(default_factory=RawData)
    gain: GainReference = Field(default_factory=GainReference)
    microscope: Microscope = Field(default_factory=Microscope)
    transfer: Transfer = Field(default_factory=Transfer)
    motion: FrameAlignment = Field(default_factory=FrameAlignment)
    ctf: CtfEstimation = Field(default_factory=CtfEstimation)
    picking: ParticleDetection = Field(default_factory=ParticleDetection)
    class2d: Classification2d = Field(default_factory=Classification2d)
    resources: Resources = Field(default_factory=Resources)

    @classmethod
    def items(cls) -> Iterator[Item]:
        """Every setting in the order of the tabs."""
        for section, info in cls.model_fields.items():
            model = info.annotation
            assert isinstance(model, type)
            assert issubclass(model, Section)
            for name, field in model.model_fields.items():
                yield _item(section, name, field)

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> "Settings":
        """Settings from names such as "picking.radius" or nextPYP's "detect_rad", over the defaults."""
        return cls().updated(values)

    def updated(self, values: Mapping[str, Any]) -> "Settings":
        """A copy with some settings changed; text is converted, and what is wrong is said by name."""
        names = {item.key: item for item in self.items()}
        aliases = {item.alias: item for item in names.values() if item.alias}
        nested = self.model_dump()
        problems: dict[str, str] = {}
        for name, value in values.items():
            item = names.get(name) or aliases.get(name)
            if item is None:
                problems[name] = (
                    f"unknown setting{_near(name, [*names, *aliases])}; `nextpyp-nb settings` lists the names"
                )
            else:
                nested[item.section][item.name] = _from_text(item, value)
        try:
            made = type(self).model_validate(nested)
        except ValidationError as error:
            problems |= {_key(e["loc"]): _sentence(names.get(_key(e["loc"])), e) for e in error.errors()}
            raise SettingsError(problems) from None
        if problems:
            raise SettingsError(problems)
        return made

    def flat(self) -> dict[str, Any]:
        """All values by "section.field"."""
        return {item.key: getattr(getattr(self, item.section), item.name) for item in self.items()}

    def changes(self, other: "Settings") -> dict[str, tuple[Any, Any]]:
        """What differs in ``other``: name → (here, there)."""
        here, there = self.flat(), other.flat()
        return {name: (here[name], there[name]) for name in here if here[name] != there[name]}

    def missing(self) -> dict[str, str]:
        """Required settings that are not given yet, with the sentence to show."""
        problems = {}
        if not self.raw_data.location:
            problems["raw_data.location"] = "missing: give the folder and pattern of the movies"
        remote = any(is_remote(place) for place in places(self.raw_data.location))
        if remote and self.transfer.operation != "copy":
            problems["transfer.operation"] = "must be copy: the movies lie on another machine"
        if self.microscope.pixel_size is None:
            problems["microscope.pixel_size"] = "missing: give the pixel size of the movies in Å"
        if self.microscope.voltage is None:
            problems["microscope.voltage"] = "missing: give the voltage in kV, such as 300"
        if self.picking.method == "import" and not self.picking.source:
            problems["picking.source"] = "missing: give the file or folder with the picks to import"
        if self.picking.method == "template" and not self.picking.templates:
            problems["picking.templates"] = "missing: give the stack of class averages to look for"
        if self.picking.method == "plug-in" and not self.picking.plugin:
            problems["picking.plugin"] = "missing: give the function or command that picks"
        problems |= {f"resources.{name}": text for name, text in self.resources.missing().items()}
        if self.ctf.min_defocus >= self.ctf.max_defocus:
            problems["ctf.min_defocus"] = f"must be less than the most defocus, {self.ctf.max_defocus:g} Å"
        if self.ctf.min_resolution <= self.ctf.max_resolution:
            problems["ctf.min_resolution"] = (
                f"must be coarser than the highest resolution, {self.ctf.max_resolution:g} Å"
            )
        return problems

    def check(self) -> None:
        """Raise `SettingsError` when a session cannot run with these."""
        if problems := self.missing():
            raise SettingsError(problems)


def _item(section: str, name: str, field: FieldInfo) -> Item:
    extra: Any = field.json_schema_extra or {}
    args = get_args(field.annotation)
    optional = type(None) in args
    inner = next((a for a in args if a is not type(None)), field.annotation) if optional else field.annotation
    choices = tuple(args) if args and not optional else ()
    bounds: dict[str, float] = {}
    for m in field.metadata:
        for key in ("ge", "gt", "le", "lt"):
            if getattr(m, key, None) is not None:
                bounds[key[0]] = getattr(m, key)
    return Item(
        section=section, name=name, label=extra["label"], explanation=field.description or "",
        unit=extra["unit"], alias=extra["alias"], advanced=extra["advanced"], path=extra["path"],
        default=field.default, kind=str if choices else inner or str, optional=optional, choices=choices,
        minimum=bounds.get("g"), maximum=bounds.get("l"),
    )  # fmt: skip


def _from_text(item: Item, value: Any) -> Any:
    if item.optional and isinstance(value, str) and value.strip().lower() in ("", "none", "auto"):
        return None
    return value.strip() if isinstance(value, str) else value


def _near(name: str, known: list[str]) -> str:
    found = difflib.get_close_matches(name, known, 1)
    return f", did you mean {found[0]}" if found else ""


def _key(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location[:2])


def _sentence(item: Item | None, error: Any) -> str:
    got = error.get("input")
    if item is None:
        return str(error["msg"])
    unit = f" {item.unit}" if item.unit else ""
    if item.choices:
        return f"got {got!r}, expected one of {', '.join(item.choices)}"
    if error["type"].startswith(("greater", "less")):
        return f"got {got}{unit}, expected {item.minimum:g} to {item.maximum:g}{unit}"
    words = {int: "a whole number", float: "a number", bool: "true or false"}.get(item.kind, "text")
    return f"got {got!r}, expected {words}{unit}"
