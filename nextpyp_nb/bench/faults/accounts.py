"""What another account of this machine may do: a child process becomes it. Only root can."""

import json
import os
from collections.abc import Callable, Sequence
from typing import Any


def as_account(uid: int, groups: Sequence[int], act: Callable[[], Any], umask: int = 0o027) -> Any:
    """What ``act`` returns, or the words of its error, when the account ``uid`` does it in a child."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            become(uid, groups, umask)
            try:
                answer = act()
            except Exception as error:
                answer = f"{type(error).__name__}: {error}"
            with os.fdopen(write, "w") as stream:
                json.dump(answer, stream, default=str)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    return json.loads(answer) if answer else None


def become(uid: int, groups: Sequence[int], umask: int = 0o027) -> None:
    """Be the account ``uid`` in ``groups`` (the first is its own; none: the number of the account)."""
    os.umask(umask)
    os.setgroups(list(groups))
    os.setgid(groups[0] if groups else uid)
    os.setuid(uid)
