"""Messages of the browser are heard on the main thread of the kernel, where pages are drawn.

JupyterLab sends those of widgets to a subshell, which is a thread of its own, where the kernel has them
(ipykernel 7). Widgets know nothing of threads: one sent while another thread draws is sent half.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from ipykernel.kernelbase import Kernel

KINDS = ("comm_open", "comm_msg", "comm_close")


def hear_on_main_thread() -> None:
    """Let the kernel that runs this hand over its widgets' messages; outside of one there are none."""
    if not Kernel.initialized() or threading.current_thread() is not threading.main_thread():
        return
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    handlers = Kernel.instance().shell_handlers
    for kind in KINDS:
        if not isinstance(handlers.get(kind), _HandedOver):
            handlers[kind] = _HandedOver(handlers[kind], loop)


class _HandedOver:
    """A handler of the kernel that waits until the main thread has done what it does."""

    def __init__(self, handler: Callable[..., Any], loop: asyncio.AbstractEventLoop) -> None:
        self.handler, self.loop = handler, loop

    def __call__(self, stream: Any, ident: Any, message: Any) -> Any:
        """What the handler returns; in another thread something to wait for."""
        if threading.current_thread() is threading.main_thread():
            return self.handler(stream, ident, message)
        # The context goes along: answers name the message that they answer.
        done = asyncio.run_coroutine_threadsafe(self._handle(stream, ident, message), self.loop)
        return asyncio.wrap_future(done)

    async def _handle(self, stream: Any, ident: Any, message: Any) -> None:
        self.handler(stream, ident, message)
