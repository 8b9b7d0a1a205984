"""File transfer: from the microscope's disk to the session."""

from typing import Any, Literal

from pydantic import field_validator

from nextpyp_nb.settings.fields import Section, setting


class Transfer(Section):
    """How movies come from the microscope's disk into the session."""

    operation: Literal["link", "copy", "move"] = setting(
        "link", "Operation",
        "Link leaves movies where they are; copy verifies; move deletes the source once verified.",
        alias="stream_transfer_operation",
    )  # fmt: skip
    compress: Literal["none", "lzw", "zstd"] = setting(
        "none", "Compress", "Whole-number MRC and plain TIFF become compressed TIFF on the way (copy, move).",
        alias="stream_compress",
    )  # fmt: skip
    bandwidth: float = setting(
        0.0, "Bandwidth limit", "Of all copies together; 0 is no limit.", unit="MB/s", advanced=True,
        ge=0, le=100_000,
    )  # fmt: skip
    side_files: str = setting(
        "", "Side files", "Endings of files to bring along with each movie, such as .xml .mdoc .jpg",
        alias="stream_transfer_fileset", advanced=True,
    )  # fmt: skip
    all_files: bool = setting(
        False, "All files", "Bring along every other file of the folder too, into raw/other.",
        alias="stream_transfer_all", advanced=True,
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

    @field_validator("compress", mode="before")
    @classmethod
    def _nextpyp_words(cls, value: Any) -> Any:
        return (
            {"tif": "lzw", "tiff": "lzw", "": "none"}.get(value, value) if isinstance(value, str) else value
        )
