"""How other programs say a gain reference lies, in our words: flips first, then quarter turns (np.rot90)."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class GainOrientation:
    """Flips of a reference (y, x), y up, then quarter turns as ``np.rot90`` makes them."""

    rotation: int
    flip_horizontal: bool
    flip_vertical: bool

    def settings(self) -> dict[str, Any]:
        """The same as settings of the gain reference."""
        return {f"gain.{name}": value for name, value in asdict(self).items()}


def from_relion(rotation: int = 0, flip: int = 0) -> GainOrientation:
    """RELION's --gain_rot and --gain_flip (0 none, 1 upside-down, 2 left-right)."""
    if rotation not in range(4) or flip not in range(3):
        raise ValueError(f"rotation {rotation} and flip {flip}, expected rotation 0 to 3 and flip 0, 1 or 2")
    # It turns the other way than np.rot90, and flips last; moving a flip to the front reverses the turn.
    turns = rotation if flip else -rotation
    return GainOrientation(rotation=turns % 4, flip_horizontal=flip == 2, flip_vertical=flip == 1)


def from_motioncor(rot_gain: int = 0, flip_gain: int = 0) -> GainOrientation:
    """MotionCor's -RotGain and -FlipGain, which RELION took over; -InvGain is our operation "divide"."""
    return from_relion(rot_gain, flip_gain)


def from_nextpyp(
    gain_rotation: int = 0, gain_fliph: bool = False, gain_flipv: bool = False, *, motioncor: bool = False
) -> GainOrientation:
    """NextPYP's settings, which are ours, unless its movies went through ``motioncor``.

    It hands them to MotionCor as they are, to turn first, and left-right is lost beside upside-down.
    """
    if motioncor:
        return from_motioncor(gain_rotation, 1 if gain_flipv else 2 if gain_fliph else 0)
    return GainOrientation(
        rotation=gain_rotation % 4, flip_horizontal=bool(gain_fliph), flip_vertical=bool(gain_flipv)
    )
