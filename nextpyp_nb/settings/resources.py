"""Resources: where the work of a session runs."""

import re
from importlib.util import find_spec
from typing import Literal

from nextpyp_nb.settings.fields import Section, setting

# Options of sbatch that choose where a job runs and who pays; none that could write a file or run a program.
OPTIONS = (
    "account", "clusters", "comment", "constraint", "cpus-per-gpu", "exclude", "exclusive", "gpus",
    "gpus-per-node", "gres", "licenses", "mem-per-gpu", "nice", "nodelist", "partition", "prefer", "qos",
    "reservation", "wckey",
)  # fmt: skip
_OPTION = re.compile(rf"--({'|'.join(OPTIONS)})(=[A-Za-z0-9_.,:\[\]()&|*+@/-]+)?")

_ADDRESS = re.compile(r"(tcp|tls)://[A-Za-z0-9_.:\[\]-]+")
_PARTITION = re.compile(r"[A-Za-z0-9_.,-]*")


class Resources(Section):
    """Which machines a session uses, and how much of them."""

    engine: Literal["local", "dask", "slurm"] = setting(
        "local", "Engine",
        "Where movies are processed: on this machine, on workers of a Dask scheduler, or in jobs of SLURM, "
        "which all see session and movies at the same paths. 2D classification stays on this machine.",
    )  # fmt: skip
    workers: int = setting(
        0, "Workers",
        "Movies processed at once on this machine (0: one per GPU, else one per two cores); jobs on SLURM.",
        unit="processes", ge=0, le=256,
    )  # fmt: skip
    threads: int = setting(
        0, "Threads", "Per worker; 0: the cores shared evenly, 4 on SLURM, 1 on Dask.", alias="slurm_tasks",
        ge=0, le=256,
    )  # fmt: skip
    gpus: int = setting(
        -1, "GPUs",
        "Used by this session; −1: all there are, 0: none. On Dask and SLURM: of each worker, −1: none.",
        alias="slurm_gpus", ge=-1, le=64,
    )  # fmt: skip
    address: str = setting(
        "", "Dask scheduler", "Address for engine dask, such as tls://head:8786 or tcp://127.0.0.1:8786.",
    )  # fmt: skip
    partition: str = setting(
        "", "Partition", "For engine slurm; empty: the cluster's own choice.", alias="slurm_queue",
    )  # fmt: skip
    memory: float = setting(
        16.0, "Memory", "Of each SLURM job.", unit="GB", alias="slurm_memory", ge=0.5, le=4096
    )
    job_hours: float = setting(
        8.0, "Job time", "Of each SLURM job; one that ends is replaced.", unit="h",
        ge=1 / 60, le=720,
    )  # fmt: skip
    arguments: str = setting(
        "", "More for sbatch", "Such as --account=cryo --qos=high --gres=gpu:1.", advanced=True
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

    def missing(self) -> dict[str, str]:
        """What the chosen engine lacks, by field, with the sentence to show."""
        problems = {}
        if self.engine != "local" and find_spec("distributed") is None:
            problems["engine"] = f"{self.engine} needs the extra dask: pip install 'nextpyp_nb[dask]'"
        if self.engine == "dask" and not _ADDRESS.fullmatch(self.address):
            problems["address"] = f"got {self.address!r}, expected an address such as tls://head:8786"
        if not _PARTITION.fullmatch(self.partition):
            problems["partition"] = f"got {self.partition!r}, expected the name of a partition, such as gpu"
        if self.engine == "slurm" and not self.workers:
            problems["workers"] = "missing: give the number of SLURM jobs at once"
        wrong = [word for word in self.arguments.split() if not _OPTION.fullmatch(word)]
        if wrong:
            allowed = ", ".join(OPTIONS)
            problems["arguments"] = (
                f"{wrong[0]} cannot be given: write --OPTION or --OPTION=VALUE of {allowed}"
            )
        return problems

    def same_workers(self, other: "Resources") -> bool:
        """Whether ``other`` asks for the same workers; limits of one movie and reports do not matter."""
        apart = {"report", "walltime"}
        return self.model_dump(exclude=apart) == other.model_dump(exclude=apart)
