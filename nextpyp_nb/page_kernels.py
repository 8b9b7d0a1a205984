"""Kernels of served pages: those of closed pages end, those that wait for a page do not."""

from typing import Any

from jupyter_server._tz import utcnow
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager


class PageKernels(AsyncMappingKernelManager):
    """Counts idle time from when a kernel was handed to a page.

    Voilà spares kernels in its pool. One that waited there for long counts as long idle, and could end
    between the request for its page and the connection of the browser, which then saw an empty page.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._handed: set[str] = set()

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """End a kernel that was idle for too long; asked about one for the first time, begin to count."""
        if kernel_id in self._handed:
            await super().cull_kernel_if_idle(kernel_id)
            return
        self._handed.add(kernel_id)
        self._kernels[kernel_id].last_activity = utcnow()
