"""Names and metadata as EPU writes them beside its movies."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.sax.saxutils import escape

SHOTS_PER_HOLE = 4
HOLES_PER_SQUARE = 20
SHIFT_BETWEEN_SHOTS = 0.03  # EPU's own units


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """Where and when one movie is taken: EPU's ids, beam shift (x, y) and stage position in metres."""

    square: int
    hole: int
    template: int
    acquisition: int
    taken: datetime
    beam_shift: tuple[float, float]
    stage: tuple[float, float, float]

    @property
    def name(self) -> str:
        """File name without ``_fractions`` and suffix."""
        ids = f"FoilHole_{self.hole}_Data_{self.template}_{self.acquisition}"
        return f"{ids}_{self.taken:%Y%m%d}_{self.taken:%H%M%S}"

    @property
    def folder(self) -> Path:
        """Folder of movie and XML, relative to the session."""
        return Path("Images-Disc1") / f"GridSquare_{self.square}" / "Data"


def plan_shot(index: int, taken: datetime, jitter: tuple[float, float]) -> Shot:
    """Ids and positions of movie ``index``: four shots a hole, twenty holes a grid square.

    The beam shift follows the shot, so movies fall into four groups; ``jitter`` (x, y) is its scatter.
    """
    hole, shot = divmod(index, SHOTS_PER_HOLE)
    square, hole_of_square = divmod(hole, HOLES_PER_SQUARE)
    row, column = divmod(hole_of_square, 5)
    sign = (1 if shot in (0, 3) else -1, 1 if shot in (0, 1) else -1)
    return Shot(
        square=27_170_001 + 14 * square,
        hole=27_180_010 + 7 * hole,
        template=27_190_100 + 2 * shot,
        acquisition=27_190_101 + 2 * shot,
        taken=taken,
        beam_shift=(
            SHIFT_BETWEEN_SHOTS * sign[0] + jitter[0],
            SHIFT_BETWEEN_SHOTS * sign[1] + jitter[1],
        ),
        stage=(1e-4 * square + 2e-6 * column, -5e-5 + 2e-6 * row, -1.2e-5),
    )


SESSION = """<?xml version="1.0" encoding="utf-8"?>
<EpuSessionXml xmlns="http://schemas.datacontract.org/2004/07/Applications.Epu.Persistence" \
xmlns:i="http://www.w3.org/2001/XMLSchema-instance">
  <Name>{name}</Name>
  <StartDateTime>{started}</StartDateTime>
  <Version>3.0</Version>
</EpuSessionXml>
"""

IMAGE = """<?xml version="1.0" encoding="utf-8"?>
<MicroscopeImage xmlns="http://schemas.datacontract.org/2004/07/Fei.SharedObjects" \
xmlns:i="http://www.w3.org/2001/XMLSchema-instance">
  <name>{name}</name>
  <CustomData xmlns:a="http://schemas.microsoft.com/2003/10/Serialization/Arrays" \
xmlns:s="http://www.w3.org/2001/XMLSchema">
{custom}
  </CustomData>
  <SpatialScale>
    <pixelSize>
      <x><numericValue>{pixel}</numericValue><unit xmlns:a="http://schemas.datacontract.org/2004/07/Fei.Types">\
<a:_x003C_SymbolStrategy_x003E_k__BackingField i:type="a:MetreUnitSymbol"/></unit></x>
      <y><numericValue>{pixel}</numericValue><unit xmlns:a="http://schemas.datacontract.org/2004/07/Fei.Types">\
<a:_x003C_SymbolStrategy_x003E_k__BackingField i:type="a:MetreUnitSymbol"/></unit></y>
    </pixelSize>
  </SpatialScale>
  <microscopeData>
    <acquisition>
      <acquisitionDateTime>{taken}</acquisitionDateTime>
      <acquisitionMode>Acquire</acquisitionMode>
      <camera>
        <Binning xmlns:d="http://schemas.datacontract.org/2004/07/System.Drawing"><d:x>1</d:x><d:y>1</d:y></Binning>
        <CameraSpecificInput xmlns:a="http://schemas.microsoft.com/2003/10/Serialization/Arrays">
          <a:KeyValueOfstringanyType><a:Key>FractionationSettings</a:Key>\
<a:Value xmlns:f="http://schemas.datacontract.org/2004/07/Fei.Applications.Common.Omp.Interface" \
i:type="f:FixedFractionation"><f:NumberOffractions>{frames}</f:NumberOffractions></a:Value>\
</a:KeyValueOfstringanyType>
        </CameraSpecificInput>
        <ExposureTime>{exposure}</ExposureTime>
        <Name>Pretend</Name>
        <ReadoutArea xmlns:d="http://schemas.datacontract.org/2004/07/System.Drawing"><d:height>{height}</d:height>\
<d:width>{width}</d:width><d:x>0</d:x><d:y>0</d:y></ReadoutArea>
      </camera>
    </acquisition>
    <gun><AccelerationVoltage>{volts}</AccelerationVoltage></gun>
    <optics>
      <BeamShift xmlns:a="http://schemas.datacontract.org/2004/07/Fei.Types"><a:_x>{beam[0]}</a:_x>\
<a:_y>{beam[1]}</a:_y></BeamShift>
      <Defocus>{defocus}</Defocus>
      <ImageShift xmlns:a="http://schemas.datacontract.org/2004/07/Fei.Types"><a:_x>0</a:_x><a:_y>0</a:_y></ImageShift>
      <TemMagnification><NominalMagnification>{magnification}</NominalMagnification></TemMagnification>
    </optics>
    <stage>
      <Position><A>0</A><B>0</B><X>{stage[0]}</X><Y>{stage[1]}</Y><Z>{stage[2]}</Z></Position>
    </stage>
  </microscopeData>
</MicroscopeImage>
"""


def session_xml(name: str, started: datetime) -> str:
    """A stub of ``EpuSession.dm``."""
    return SESSION.format(name=escape(name), started=started.isoformat())


def image_xml(
    shot: Shot,
    *,
    pixel_size: float,
    voltage: float,
    frames: int,
    dose: float,
    defocus: float,
    height: int,
    width: int,
) -> str:
    """Metadata of one movie; pixel size Å, voltage kV, total dose e⁻/Å², under focus positive in Å.

    EPU writes metres, volts and e⁻/m², and under focus with a minus.
    """
    custom = {
        "AppliedDefocus": -defocus * 1e-10,
        "Dose": dose * 1e20,
        "DoseOnCamera": dose * pixel_size**2,
    }
    entries = "\n".join(
        f"    <a:KeyValueOfstringanyType><a:Key>{key}</a:Key>"
        f'<a:Value i:type="s:double">{value:.6G}</a:Value></a:KeyValueOfstringanyType>'
        for key, value in custom.items()
    )
    return IMAGE.format(
        name=shot.name,
        custom=entries,
        pixel=f"{pixel_size * 1e-10:.6G}",
        taken=shot.taken.isoformat(),
        frames=frames,
        exposure=f"{0.1 * frames:.2f}",
        height=height,
        width=width,
        volts=round(voltage * 1e3),
        beam=[f"{v:.8f}" for v in shot.beam_shift],
        defocus=f"{-defocus * 1e-10:.6G}",
        magnification=round(100_000 / pixel_size / 1000) * 1000,
        stage=[f"{v:.6G}" for v in shot.stage],
    )
