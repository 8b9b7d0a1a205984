"""Messages of the browser are heard on the main thread of the kernel, where pages are drawn.

JupyterLab sends those of widgets to a subshell, which is a thread of its own, where the kernel has them
(ipykernel 7). Widgets know nothing of threads: one sent while another thread draws is sent half.
"""

from typing import Any

from ipykernel.comm.comm import BaseComm
from ipykernel.kernelbase import Kernel

_reply_subshell_for = BaseComm._reply_subshell_for
_dispatch_shell = Kernel.dispatch_shell


def hear_on_main_thread() -> None:
    """Let this kernel do so, and say of each message that it is done; once or more often is the same."""
    BaseComm._reply_subshell_for = _to_main_thread  # type: ignore[method-assign]
    Kernel.dispatch_shell = _dispatch  # type: ignore[method-assign]


def _to_main_thread(comm: BaseComm, data: Any, default: str | None) -> None:
    """The subshell that hears a message: none. What ipykernel would choose is used up all the same."""
    _reply_subshell_for(comm, data, default)


async def _dispatch(
    kernel: Kernel, message: Any, /, subshell_id: str | None = None, *, concurrent: bool = False
) -> None:
    """Handle a message; ``concurrent`` is one to a widget while a cell waits (``await``).

    ipykernel never says that such a one is done, and a widget waits for that before it speaks again.
    """
    await _dispatch_shell(kernel, message, subshell_id=subshell_id, concurrent=concurrent)
    if concurrent:
        kernel._publish_status("idle", "shell")
