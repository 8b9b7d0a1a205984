"""A network that parts: two workers in network namespaces, one of them cut off without a word."""

import asyncio
import os
import secrets
import shutil
import subprocess
import time

import psutil
import pytest

from tests.cluster import Cluster, check_tally, counted, on, outcomes, until

pytest.importorskip("distributed", reason="the extra dask is not installed")


def ip(*words):
    return subprocess.run(("ip", *words), check=True, capture_output=True, text=True).stdout


class Network:
    """Namespaces with one link each to this one; a link that is cut swallows what is sent, both ways."""

    def __init__(self, names):
        self.tag, self.names = secrets.token_hex(3), names
        # Addresses for tests (RFC 2544), so that no network of this machine is hidden.
        self._net = f"198.18.{secrets.randbelow(256)}"
        for number, name in enumerate(names):
            near, far = self._links(name)
            ip("netns", "add", self.space(name))
            ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", self.space(name))
            ip("addr", "add", f"{self.outside(number)}/30", "dev", near)
            ip("link", "set", near, "up")
            self.within(name, "addr", "add", f"{self.inside(number)}/30", "dev", far)
            self.within(name, "link", "set", far, "up")
            self.within(name, "link", "set", "lo", "up")

    def space(self, name):
        return f"nb-{self.tag}-{name}"

    def outside(self, number):
        return f"{self._net}.{4 * number + 1}"

    def inside(self, number):
        return f"{self._net}.{4 * number + 2}"

    def within(self, name, *words):
        return ip("-n", self.space(name), *words)

    def cut(self, name):
        """Packets go to a neighbour that does not exist."""
        near, far = self._links(name)
        number, nobody = self.names.index(name), ("lladdr", "02:00:00:00:00:09", "nud", "permanent")
        ip("neigh", "replace", self.inside(number), *nobody, "dev", near)
        self.within(name, "neigh", "replace", self.outside(number), *nobody, "dev", far)

    def mend(self, name):
        near, far = self._links(name)
        number = self.names.index(name)
        ip("neigh", "del", self.inside(number), "dev", near)
        self.within(name, "neigh", "del", self.outside(number), "dev", far)

    def close(self):
        for name in self.names:
            subprocess.run(("ip", "link", "del", self._links(name)[0]), capture_output=True)
            subprocess.run(("ip", "netns", "del", self.space(name)), capture_output=True)

    def _links(self, name):
        return f"n{self.tag}{name}", f"f{self.tag}{name}"


@pytest.fixture
def network():
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    try:
        made = Network(["a", "b"])
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine allows no network namespaces: {error.stderr.strip()}")
    yield made
    made.close()


def test_a_partition_loses_and_doubles_nothing(network, tmp_path):
    """A worker that is cut off ends what it has within its lease; the other does it; it comes back after."""
    cluster = Cluster(tmp_path, host="0.0.0.0")
    for number, name in enumerate(network.names):
        cluster.start_worker(
            name, "ip", "netns", "exec", network.space(name),
            scheduler=f"tcp://{network.outside(number)}:{cluster.port}", host=network.inside(number),
        )  # fmt: skip
    tally, took = tmp_path / "tally", {}
    tally.mkdir()

    async def run():
        seen = {}
        async with on(cluster, tmp_path) as engine:
            await until(lambda: engine.slots() == 4)
            await engine.submit(counted(0, tally, 8.0))
            for number in range(1, 41):
                await engine.submit(counted(number, tally, 0.2))
            listener = asyncio.create_task(outcomes(engine, 41, seen))
            await until(lambda: (tally / "0.begun").exists() and len(seen) >= 4)
            process = psutil.Process(int((tally / "0.begun").read_text()))
            cut = next(n for n, worker in cluster.workers.items() if process.ppid() == worker.pid)
            network.cut(cut)
            begin = time.monotonic()
            await until(lambda: engine.slots() == 2)
            took["noticed"] = time.monotonic() - begin
            await until(lambda: not process.is_running())
            took["ended"] = time.monotonic() - begin
            assert not (tally / "0.done").exists()
            await until(lambda: len((tally / "0.begun").read_text().splitlines()) == 2)
            took["done by the other"] = time.monotonic() - begin
            network.mend(cut)
            await until(lambda: engine.slots() == 4)
            await asyncio.wait_for(listener, 60)
        return seen

    try:
        check_tally(tally, asyncio.run(run()), count=41, faults=1)
    finally:
        cluster.close()
    assert len((tally / "0.done").read_text().splitlines()) == 1
    assert (tally / "0.done").stat().st_mode & 0o777 == 0o640
    assert max(took.values()) < 60
