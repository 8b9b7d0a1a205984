"""File transfer: from the microscope's disk to the session."""

from typing import Literal

from nextpyp_nb.settings.fields import Section, setting


class Transfer(Section):
    """How movies come from the microscope's disk into the session."""

    operation: Literal["link", "copy", "move"] = setting(
        "link", "Operation",
        "Link leaves movies where they are; copy verifies; move deletes the source once verified.",
        alias="stream_transfer_operation",
    )  # fmt: skip
    only: bool = setting(
        False, "Transfer only", "Do nothing but transfer; pre-processing waits.",
        alias="stream_transfer_local", advanced=True,
    )  # fmt: skip
    settle: float = setting(
        10.0, "Settle time", "A movie is taken when unchanged for so long (60 s on network disks).",
        unit="s", alias="stream_transfer_age", ge=0.2, le=3600,
    )  # fmt: skip
    scan_interval: float = setting(
        5.0, "Scan interval", "Between two looks at the folder; new files are also noticed in between.",
        unit="s", advanced=True, ge=0.2, le=600,
    )  # fmt: skip
    give_up: float = setting(
        900.0, "Stuck after", "A movie that is still not whole after so long is shown as stuck.",
        unit="s", advanced=True, ge=1, le=86400,
    )  # fmt: skip
