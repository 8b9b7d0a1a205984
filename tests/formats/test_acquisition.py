import math
from datetime import datetime

import pytest

from nextpyp_nb.formats.acquisition import EpuName, epu_name_parts, read_acquisition, side_file
from nextpyp_nb.formats.check import BadFile

ARRAYS = 'xmlns:a="http://schemas.microsoft.com/2003/10/Serialization/Arrays"'
EPU = f"""<?xml version="1.0" encoding="utf-8"?>
<MicroscopeImage xmlns="http://schemas.datacontract.org/2004/07/Fei.SharedObjects">
  <CustomData {ARRAYS}>
    <a:KeyValueOfstringanyType><a:Key>DoseOnCamera</a:Key><a:Value>16.0</a:Value></a:KeyValueOfstringanyType>
    <a:KeyValueOfstringanyType><a:Key>Dose</a:Key><a:Value>4.5E+21</a:Value></a:KeyValueOfstringanyType>
    <a:KeyValueOfstringanyType><a:Key>AppliedDefocus</a:Key><a:Value>-1.8E-06</a:Value>
    </a:KeyValueOfstringanyType>
  </CustomData>
  <SpatialScale>
    <offset><x><numericValue>0</numericValue></x></offset>
    <pixelSize><x><numericValue>8.3E-11</numericValue></x><y><numericValue>8.3E-11</numericValue></y></pixelSize>
  </SpatialScale>
  <microscopeData>
    <acquisition>
      <acquisitionDateTime>2025-01-08T15:49:18.1158288+00:00</acquisitionDateTime>
      <camera>
        <CameraSpecificInput {ARRAYS}><a:KeyValueOfstringanyType>
          <a:Key>FractionationSettings</a:Key>
          <a:Value><b:NumberOffractions xmlns:b="x">50</b:NumberOffractions></a:Value>
        </a:KeyValueOfstringanyType></CameraSpecificInput>
        <Name>EF-CCD</Name>
      </camera>
    </acquisition>
    <gun><AccelerationVoltage>300000</AccelerationVoltage></gun>
    <optics>
      <BeamShift xmlns:a="t"><a:_x>0.0608</a:_x><a:_y>-0.154</a:_y></BeamShift>
      <BeamTilt xmlns:a="t"><a:_x>0.5</a:_x><a:_y>0.6</a:_y></BeamTilt>
      <Defocus>4.8E-07</Defocus>
      <TemMagnification><NominalMagnification>165000</NominalMagnification></TemMagnification>
    </optics>
    <stage><Position><A>0.1</A><X>-9.7E-05</X><Y>-1.5E-04</Y><Z>8.5E-05</Z></Position></stage>
  </microscopeData>
</MicroscopeImage>
"""

MDOC = """PixelSpacing = 1.06
Voltage = 300

[T = SerialEM: Acquired on a K3]

[FrameSet = 0]
TiltAngle = 0.1
StagePosition = 12.5 -30.25
StageZ = 80.1
Magnification = 81000
ExposureDose = 50.5
ImageShift = 1.5 -2.5
Defocus = -1.6
TargetDefocus = -1.5
NumSubFrames = 40
SubFramePath = X:\\frames\\a_X+0Y-1-2.tif
DateTime = 05-Mar-24  09:07:01
GainReference = X:\\frames\\CountRef.dm4
"""


def test_epu_xml_in_our_units(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(EPU)
    read = read_acquisition(path)
    assert read.pixel_size == pytest.approx(0.83)
    assert read.voltage == pytest.approx(300)
    assert read.dose == pytest.approx(45)
    assert read.defocus == pytest.approx(18_000)  # under focus is positive here
    assert (read.beam_shift_x, read.beam_shift_y) == (0.0608, -0.154)
    assert (read.stage_x, read.stage_y, read.stage_z) == pytest.approx((-97, -150, 85))
    assert read.tilt == pytest.approx(math.degrees(0.1))
    assert (read.n_frames, read.magnification, read.camera) == (50, 165_000, "EF-CCD")
    assert read.time == datetime.fromisoformat("2025-01-08T15:49:18.115828+00:00")


def test_mdoc_in_our_units(tmp_path):
    path = tmp_path / "a.tif.mdoc"
    path.write_text(MDOC)
    read = read_acquisition(path)
    assert (read.pixel_size, read.voltage, read.dose, read.n_frames) == (1.06, 300, 50.5, 40)
    assert read.defocus == pytest.approx(16_000)
    assert (read.stage_x, read.stage_y, read.stage_z) == (12.5, -30.25, 80.1)
    assert (read.beam_shift_x, read.beam_shift_y) == (1.5, -2.5)
    assert read.time == datetime(2024, 3, 5, 9, 7, 1)
    assert read.gain_name == "CountRef.dm4"


def test_unknown_is_nan_and_never_zero(tmp_path):
    (tmp_path / "a.xml").write_text("<MicroscopeImage/>")
    (tmp_path / "a.mdoc").write_text(
        "PixelSpacing = 0\nExposureDose = nonsense\n[FrameSet = 0]\nDateTime = soon\n"
    )
    for path in tmp_path.iterdir():
        read = read_acquisition(path)
        for name in ("pixel_size", "dose", "voltage", "defocus", "beam_shift_x", "stage_x"):
            assert math.isnan(getattr(read, name)), (path, name)
        assert read.time is None
        assert read.n_frames is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "entities"),
        ("<a><b></a>", "no complete XML"),
        (EPU[:500], "no complete XML"),
        ("<a>" * 200, "nested"),
        ("<a>" + " " * (5 << 20), "5 MB"),
    ],
)
def test_hostile_or_half_written_xml_is_refused(tmp_path, text, what):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(BadFile, match=what):
        read_acquisition(tmp_path / "a.xml")


def test_any_text_is_no_mdoc(tmp_path):
    (tmp_path / "a.mdoc").write_text("hello\nworld = 1\n")
    with pytest.raises(BadFile, match="no SerialEM mdoc"):
        read_acquisition(tmp_path / "a.mdoc")


def test_parts_of_epu_names():
    wanted = EpuName(hole="9015883", shot="9017347", acquisition="6")
    assert epu_name_parts("FoilHole_9015883_Data_9017347_6_20250108_154915_fractions.tiff") == wanted
    assert epu_name_parts("FoilHole_9015883_Data_9017347_6_20250108_154915_EER.eer") == wanted
    assert epu_name_parts("FoilHole_1_Data_22_33_4_20250108_154915_Fractions.mrc").shot == "22_33"
    assert epu_name_parts("grid1_X+0Y-1-2.tif") is None


@pytest.mark.parametrize(
    ("movie", "side"),
    [
        ("FoilHole_1_Data_2_3_20250108_154915_fractions.tiff", "FoilHole_1_Data_2_3_20250108_154915.xml"),
        ("FoilHole_1_Data_2_3_20250108_154915_EER.eer", "foilhole_1_data_2_3_20250108_154915.XML"),
        ("a.tif", "a.tif.mdoc"),
        ("a.tif", "a.mdoc"),
    ],
)
def test_the_side_file_is_found_without_case(tmp_path, movie, side):
    (tmp_path / movie).touch()
    assert side_file(tmp_path / movie) is None
    (tmp_path / side).touch()
    assert side_file(tmp_path / movie) == tmp_path / side
    assert side_file(tmp_path / "gone" / movie) is None
