"""Which settings of Resources can be, and what is said of those that cannot."""

import pytest

from nextpyp_nb.settings import Settings
from nextpyp_nb.settings.resources import Resources

SLURM = {"engine": "slurm", "workers": 4}


@pytest.mark.parametrize(
    ("values", "field", "expected"),
    [
        ({"engine": "dask"}, "address", "expected an address"),
        ({"engine": "dask", "address": "head:8786"}, "address", "tls://head:8786"),
        ({"engine": "slurm"}, "workers", "number of SLURM jobs"),
        (SLURM | {"partition": "gpu\n#SBATCH -o x"}, "partition", "name of a partition"),
        (SLURM | {"arguments": "--output=/home/owner/.bashrc"}, "arguments", "--output=/home/owner/.bashrc"),
        (SLURM | {"arguments": "--account=a;reboot"}, "arguments", "cannot be given"),
        (SLURM | {"arguments": "-o x"}, "arguments", "-o cannot be given"),
        (SLURM | {"arguments": "--gres=gpu:1\n#SBATCH --wrap=reboot"}, "arguments", "#SBATCH"),
    ],
)
def test_what_cannot_be_is_said_beside_its_field(values, field, expected):
    problems = Resources(**values).missing()
    assert expected in problems[field]
    settings = Settings().model_copy(update={"resources": Resources(**values)})
    assert settings.missing()[f"resources.{field}"] == problems[field]


def test_what_sites_need_can_be_given():
    arguments = (
        "--account=cryo-em --qos=high --gres=gpu:a100:1 --constraint=(a100|h100) --exclude=n[1-3] --exclusive"
    )
    problems = Resources(**SLURM, partition="gpu,big", arguments=arguments).missing()
    assert set(problems) <= {"engine"}
    assert Resources().missing() == {}


def test_reports_and_the_limit_of_a_movie_ask_for_no_other_workers():
    before = Resources()
    assert before.same_workers(before.model_copy(update={"report": True, "walltime": 60.0}))
    assert not before.same_workers(before.model_copy(update={"threads": 3}))
