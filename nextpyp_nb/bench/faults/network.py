"""A network that parts: workers in network namespaces, each with a link that can be cut without a word."""

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator

from nextpyp_nb.bench.faults import NotRun


@contextlib.contextmanager
def parting(*names: str) -> Iterator["Network"]:
    """Namespaces of these names; `NotRun` where this machine allows none."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise NotRun("network namespaces need root and iproute2")
    made = Network(names)
    try:
        made.open()
        yield made
    except subprocess.CalledProcessError as error:
        raise NotRun(f"this machine allows no network namespaces: {error.stderr.strip()}") from None
    finally:
        made.close()


class Network:
    """Namespaces with one link each to this one; a link that is cut swallows what is sent, both ways."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.tag, self.names = secrets.token_hex(3), names
        # Addresses for tests (RFC 2544), so that no network of this machine is hidden.
        self._net = f"198.18.{secrets.randbelow(256)}"

    def open(self) -> None:
        """Make them."""
        for number, name in enumerate(self.names):
            near, far = self._links(name)
            _ip("netns", "add", self.space(name))
            _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", self.space(name))
            _ip("addr", "add", f"{self.outside(number)}/30", "dev", near)
            _ip("link", "set", near, "up")
            self._within(name, "addr", "add", f"{self.inside(number)}/30", "dev", far)
            self._within(name, "link", "set", far, "up")
            self._within(name, "link", "set", "lo", "up")

    def space(self, name: str) -> str:
        """The namespace's name for `ip netns exec`."""
        return f"nb-{self.tag}-{name}"

    def outside(self, number: int) -> str:
        """Our address on the link of the namespace of this number."""
        return f"{self._net}.{4 * number + 1}"

    def inside(self, number: int) -> str:
        """The address within it."""
        return f"{self._net}.{4 * number + 2}"

    def cut(self, name: str) -> None:
        """Packets go to a neighbour that does not exist."""
        near, far = self._links(name)
        number, nobody = self.names.index(name), ("lladdr", "02:00:00:00:00:09", "nud", "permanent")
        _ip("neigh", "replace", self.inside(number), *nobody, "dev", near)
        self._within(name, "neigh", "replace", self.outside(number), *nobody, "dev", far)

    def mend(self, name: str) -> None:
        """They come through again."""
        near, far = self._links(name)
        number = self.names.index(name)
        _ip("neigh", "del", self.inside(number), "dev", near)
        self._within(name, "neigh", "del", self.outside(number), "dev", far)

    def close(self) -> None:
        """Remove what was made."""
        for name in self.names:
            for words in (("link", "del", self._links(name)[0]), ("netns", "del", self.space(name))):
                subprocess.run(("ip", *words), capture_output=True, check=False)

    def _within(self, name: str, *words: str) -> None:
        _ip("-n", self.space(name), *words)

    def _links(self, name: str) -> tuple[str, str]:
        return f"n{self.tag}{name}", f"f{self.tag}{name}"


def _ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True, capture_output=True, text=True)
