"""Resources: where the work of a session runs."""

from nextpyp_nb.settings.fields import Section, setting


class Resources(Section):
    """How much of this machine a session may use."""

    workers: int = setting(
        0, "Workers", "Movies processed at once; 0: one per GPU, else one per two cores.",
        unit="processes", ge=0, le=256,
    )  # fmt: skip
    threads: int = setting(
        0, "Threads", "Per worker; 0: the cores shared evenly.", alias="slurm_tasks", ge=0, le=256
    )
    gpus: int = setting(
        -1, "GPUs", "Used by this session; −1: all there are, 0: none.", alias="slurm_gpus", ge=-1, le=64
    )
    report: bool = setting(
        False,
        "Report at the end",
        "Write an HTML report when all tracks have stopped or everything is through.",
    )
    walltime: float = setting(
        1800.0, "Time limit", "For one movie; a worker that takes longer is ended and the movie tried again.",
        unit="s", alias="slurm_walltime", advanced=True, ge=10, le=86400,
    )  # fmt: skip
