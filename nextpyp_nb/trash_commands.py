"""``nextpyp-nb delete`` and ``trash``: sessions that go, and those that come back."""

import argparse
import sys

from nextpyp_nb.session import (
    TrashedSession,
    delete_session,
    list_trash,
    open_session,
    remove_trashed,
    restore_session,
    trash_session,
)


def add_delete(delete: argparse.ArgumentParser) -> None:
    """Delete a session for ever, or put it into the trash."""
    delete.add_argument("--yes", metavar="NAME", help="the name again, instead of typing it")
    delete.add_argument("--with-raw", type=int, metavar="N", help="number of moved movies that go with it")
    delete.add_argument("--to-trash", action="store_true", help="keep it in the trash, as the page does")
    delete.set_defaults(command=_delete)


def add_trash(trash: argparse.ArgumentParser) -> None:
    """List the trash, take a session back, or remove one for ever."""
    what = trash.add_mutually_exclusive_group()
    what.add_argument("--restore", metavar="NAME", help="take it back, the last one of that name")
    what.add_argument("--remove", metavar="NAME", help="remove it for ever, all of that name")
    trash.add_argument("--with-raw", type=int, metavar="N", help="number of moved movies that go with it")
    trash.set_defaults(command=_trash)


def _delete(options: argparse.Namespace) -> None:
    confirm = options.yes
    if confirm is None:
        session = open_session(options.name, root=options.root)
        goes = "puts {} into the trash" if options.to_trash else "deletes {} and everything in it"
        _say(f"This {goes.format(session.folder)}. Movies at their source are not touched.")
        try:
            confirm = input(f"Type {session.name} to delete it: ").strip()
        except EOFError:
            raise ValueError(f"nobody is there to confirm; give --yes {session.name}") from None
    away = trash_session if options.to_trash else delete_session
    away(options.name, confirm=confirm, root=options.root, raw_count=options.with_raw)
    _say(f"Session {options.name} is {'in the trash' if options.to_trash else 'deleted'}.")


def _trash(options: argparse.Namespace) -> None:
    entries = list_trash(options.root)
    if options.restore:
        name = restore_session(_named(entries, options.restore)[0])
        _say(f"Session {name} is back.")
    elif options.remove:
        for entry in _named(entries, options.remove):
            remove_trashed(entry, raw_count=options.with_raw)
            _say(f"{entry.name}, deleted {entry.deleted:%Y-%m-%d %H:%M}, is removed for ever.")
    else:
        for entry in entries:
            _say(f"{entry.name}  deleted {entry.deleted:%Y-%m-%d %H:%M} by {entry.by}  {entry.folder}")
        if not entries:
            _say("The trash is empty.")


def _named(entries: list[TrashedSession], name: str) -> list[TrashedSession]:
    found = [entry for entry in entries if entry.name == name]
    if not found:
        there = ", ".join(sorted({entry.name for entry in entries})) or "nothing"
        raise FileNotFoundError(f"no session {name} is in the trash; there is {there}")
    return found


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
