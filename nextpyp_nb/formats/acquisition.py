"""What the microscope's software noted beside a movie: EPU XML and SerialEM mdoc."""

import math
import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.parsers import expat

from nextpyp_nb.formats.files import BadFile

MAX_BYTES = 5 << 20
# An EPU XML has some hundred values, and tags of some thirty letters.
_MAX_VALUES, _MAX_TAG = 20_000, 200
NAN = float("nan")
_EPU_NAME = re.compile(r"FoilHole_(?P<hole>\d+)_Data_(?P<shot>\w+?)_(?P<acquisition>\d+)_\d{8}_\d{4,6}", re.I)
_SERIALEM_NAME = re.compile(r"_(?P<hole>X[+-]\d+Y[+-]\d+)-(?P<shot>\d+)(?=[_.]|$)")
_LEGINON_NAME = re.compile(r"_(?P<hole>\d+sq(?:_v\d+)?_\d+hl)(?=_)")
_PART = r"(?P<{}>[A-Za-z0-9+-]+?)"
_MOVIE_ENDING = re.compile(r"_(fractions|eer)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """How a movie was taken, as reported; unknown numbers are NaN, unknown words empty.

    Lengths Å (stage µm), voltage kV, tilt degrees, dose e⁻/Å², defocus positive under focus; beam shift as
    stored, (x, y).
    """

    pixel_size: float = NAN
    voltage: float = NAN
    magnification: float = NAN
    dose: float = NAN
    defocus: float = NAN
    beam_shift_x: float = NAN
    beam_shift_y: float = NAN
    stage_x: float = NAN
    stage_y: float = NAN
    stage_z: float = NAN
    tilt: float = NAN
    n_frames: int | None = None
    time: datetime | None = None
    camera: str = ""
    gain_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpuName:
    """Parts of an EPU file name: the foil hole, the shot position in it, the acquisition."""

    hole: str
    shot: str
    acquisition: str


def epu_name_parts(name: str) -> EpuName | None:
    """Parts of names like FoilHole_<hole>_Data_<shot>_<acquisition>_<date>_<time>…; None for others."""
    found = _EPU_NAME.search(name)
    return EpuName(**found.groupdict()) if found else None


def hole_and_shot(name: str, pattern: str = "") -> dict[str, str]:
    """The foil hole and the shot position in it, as far as a movie's name tells them.

    ``pattern`` is such as ``*_{hole}-{shot}.tif``; without one, names of EPU, SerialEM and Leginon (which
    tell no shot) are known.
    """
    if pattern:
        pieces = re.split(r"(\*|\{hole\}|\{shot\})", pattern)
        known = {"*": ".*", "{hole}": _PART.format("hole"), "{shot}": _PART.format("shot")}
        found = re.match("".join(known.get(piece, re.escape(piece)) for piece in pieces) + "$", name)
    else:
        known_names = (_EPU_NAME, _SERIALEM_NAME, _LEGINON_NAME)
        found = next(filter(None, (names.search(name) for names in known_names)), None)
    parts = {} if found is None else found.groupdict()
    return {part: parts[part] for part in ("hole", "shot") if parts.get(part)}


def side_names(movie: str) -> list[str]:
    """The names that the XML or mdoc of a movie of this name may have, the likeliest first."""
    whole = movie.rpartition(".")[0] or movie
    return [f"{movie}.mdoc", f"{whole}.mdoc", f"{movie_stem(movie)}.xml", f"{whole}.xml"]


def movie_stem(movie: str) -> str:
    """What a movie's name has in common with those of its side files."""
    return _MOVIE_ENDING.sub("", movie.rpartition(".")[0] or movie)


def side_file(movie_path: str | os.PathLike[str]) -> Path | None:
    """The XML or mdoc that lies beside a movie, whatever the case of its name; None where none is."""
    movie = Path(movie_path)
    wanted = side_names(movie.name)
    for name in wanted:
        if (movie.parent / name).is_file():
            return movie.parent / name
    if not movie.parent.is_dir():
        return None
    order = {name.lower(): rank for rank, name in reversed(list(enumerate(wanted)))}
    with os.scandir(movie.parent) as entries:
        found = [entry.name for entry in entries if entry.name.lower() in order]
    return movie.parent / min(found, key=lambda name: (order[name.lower()], name)) if found else None


def read_acquisition(path: str | os.PathLike[str]) -> Acquisition:
    """Read an EPU XML or a SerialEM mdoc."""
    path = Path(path)
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise BadFile(f"{path.name} has more than 5 MB, expected a small side file")
    return _from_epu(raw, path.name) if path.suffix.lower() == ".xml" else _from_mdoc(raw, path.name)


class _Leaves:
    """Text of an XML's leaves by path, tags without namespaces; any declaration of entities is refused.

    EPU keeps free values as <KeyValueOfstringanyType><Key>name</Key><Value>text</Value>: those come as
    ``Key:name``.
    """

    def __init__(self, raw: bytes) -> None:
        self.texts: dict[str, str] = {}
        self._where: list[str] = []
        self._text = ""
        self._key = ""
        parser = expat.ParserCreate()
        # Else text comes line by line, and joining it costs the square of its length.
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._refuse
        parser.Parse(raw, True)

    def _refuse(self, *_: object) -> None:
        raise BadFile("an XML with a document type or entities")

    def _start(self, tag: str, _: object) -> None:
        if len(self._where) > 100 or len(tag) > _MAX_TAG:
            raise BadFile("an XML nested too deep, or with tags too long")
        self._where.append(tag.rsplit(":", 1)[-1])
        self._text = ""

    def _characters(self, text: str) -> None:
        self._text += text

    def _end(self, _: str) -> None:
        text, self._text = self._text.strip(), ""
        if text and self._where[-1] == "Key":
            self._key = text
        elif text:
            if len(self.texts) >= _MAX_VALUES:
                raise BadFile(f"an XML with more than {_MAX_VALUES} values")
            keyed = self._where[-1] == "Value" and self._where[-2:-1] == ["KeyValueOfstringanyType"]
            # Three parts of a path are asked for at most.
            self.texts.setdefault(f"Key:{self._key}" if keyed else "/".join(self._where[-4:]), text)
        self._where.pop()

    def text(self, ending: str) -> str:
        """Text of the first leaf whose path ends so; empty where there is none."""
        for where, text in self.texts.items():
            if where == ending or where.endswith(f"/{ending}"):
                return text
        return ""

    def number(self, ending: str, scale: float = 1.0) -> float:
        """The same as a number times ``scale``; NaN where there is none."""
        return _number(self.text(ending)) * scale


def _from_epu(raw: bytes, name: str) -> Acquisition:
    try:
        leaves = _Leaves(raw)
    except (expat.ExpatError, LookupError) as error:
        raise BadFile(f"{name} is no complete XML ({error})") from None
    frames = leaves.number("NumberOffractions")
    return Acquisition(
        pixel_size=_positive(leaves.number("pixelSize/x/numericValue", 1e10)),
        voltage=_positive(leaves.number("AccelerationVoltage", 1e-3)),
        magnification=_positive(leaves.number("NominalMagnification")),
        dose=_positive(leaves.number("Key:Dose", 1e-20)),
        defocus=-leaves.number("Key:AppliedDefocus", 1e10),
        beam_shift_x=leaves.number("BeamShift/_x"),
        beam_shift_y=leaves.number("BeamShift/_y"),
        stage_x=leaves.number("stage/Position/X", 1e6),
        stage_y=leaves.number("stage/Position/Y", 1e6),
        stage_z=leaves.number("stage/Position/Z", 1e6),
        tilt=math.degrees(leaves.number("stage/Position/A")),
        n_frames=int(frames) if frames > 0 else None,
        time=_iso_time(leaves.text("acquisitionDateTime")),
        camera=leaves.text("Key:DetectorCommercialName") or leaves.text("camera/Name"),
    )


def _from_mdoc(raw: bytes, name: str) -> Acquisition:
    pairs: dict[str, str] = {}
    for line in raw.decode("utf-8", errors="replace").splitlines():
        key, equals, value = line.strip().strip("[]").partition("=")
        if equals:
            pairs.setdefault(key.strip(), value.strip())
    if not {"FrameSet", "ZValue", "PixelSpacing", "DataMode"} & pairs.keys():
        raise BadFile(f"{name} is no SerialEM mdoc")
    shift, stage = _numbers(pairs, "ImageShift", 2), _numbers(pairs, "StagePosition", 2)
    frames = _number(pairs.get("NumSubFrames", ""))
    return Acquisition(
        pixel_size=_positive(_number(pairs.get("PixelSpacing", ""))),
        voltage=_positive(_number(pairs.get("Voltage", ""))),
        magnification=_positive(_number(pairs.get("Magnification", ""))),
        dose=_positive(_number(pairs.get("ExposureDose", ""))),
        defocus=-_number(pairs.get("Defocus", pairs.get("TargetDefocus", ""))) * 1e4,
        beam_shift_x=shift[0],
        beam_shift_y=shift[1],
        stage_x=stage[0],
        stage_y=stage[1],
        stage_z=_number(pairs.get("StageZ", "")),
        tilt=_number(pairs.get("TiltAngle", "")),
        n_frames=int(frames) if frames > 0 else None,
        time=_mdoc_time(pairs.get("DateTime", "")),
        gain_name=re.split(r"[\\/]", pairs.get("GainReference", ""))[-1],
    )


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return NAN
    return value if math.isfinite(value) else NAN


def _numbers(pairs: dict[str, str], key: str, count: int) -> list[float]:
    words = pairs.get(key, "").split()
    return [_number(words[n]) if n < len(words) else NAN for n in range(count)]


def _positive(value: float) -> float:
    return value if value > 0 else NAN


def _iso_time(text: str) -> datetime | None:
    # EPU writes seven digits of a second, datetime takes six.
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return None


def _mdoc_time(text: str) -> datetime | None:
    for form in ("%d-%b-%y %H:%M:%S", "%d-%b-%Y %H:%M:%S"):
        try:
            return datetime.strptime(" ".join(text.split()), form)
        except ValueError:
            continue
    return None
