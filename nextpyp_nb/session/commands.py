"""Commands that only change what is written down; the runner carries them out, or who starts none."""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

from nextpyp_nb.session.filters import parse_filter
from nextpyp_nb.session.inbox import Ack, Command
from nextpyp_nb.session.manual_picks import mark_pick
from nextpyp_nb.session.store import Store
from nextpyp_nb.settings import Settings

# Names of commands, and whether the store alone carries them out.
WRITTEN = (
    "save_settings", "retry", "ignore", "exclude", "save_filter", "mark_classes", "add_pick", "remove_pick",
    "set_column",
)  # fmt: skip
WORKING = (
    "start", "stop", "restart", "clear", "cancel", "update_classes", "export", "report", "cancel_export",
    "use_templates", "try_out",
)  # fmt: skip
MADE_BY_PREPROCESSING = (
    "micrographs",
    "previews",
    "motion",
    "ctf",
    "picks",
    "particles",
    "results",
    "kept",
    "tryout",
)


def apply(store: Store, command: Command) -> Ack | None:
    """Carry out and answer a command of `WRITTEN`; None when it is the runner's to do."""
    if command.name not in WRITTEN:
        if command.name in WORKING:
            return None
        answer = Ack(ok=False, message=f"there is no command {command.name!r}")
    else:
        try:
            with store.transaction():
                answer = Ack(ok=True, message=_written(store, command))
                store.acknowledge(command.uuid, True, answer.message)
            return answer
        except (
            ValueError,
            AttributeError,
            KeyError,
            TypeError,
            sqlite3.InterfaceError,
            sqlite3.ProgrammingError,
        ) as error:
            answer = Ack(ok=False, message=str(error.args[0] if error.args else error))
    store.acknowledge(command.uuid, answer.ok, answer.message)
    return answer


def _written(store: Store, command: Command) -> str:
    arguments: dict[str, Any] = command.arguments
    match command.name:
        case "save_settings":
            nested = arguments["settings"].items()
            values = {f"{section}.{name}": v for section, fields in nested for name, v in fields.items()}
            number = store.save_revision(Settings.from_flat(values), command.actor)
            return f"Settings are saved as revision {number}; Restart applies them."
        case "retry":
            movie, stage = arguments.get("movie"), arguments.get("stage")
            count = store.retry_transfer(movie) if stage in (None, "transfer") else 0
            count += store.retry(movie) if stage != "transfer" else 0
            return f"{count:,} movie{'s' * (count != 1)} will be tried again."
        case "ignore":
            store.ignore(arguments["movie"])
            return f"{arguments['movie']} is ignored."
        case "exclude":
            movies, excluded = arguments["movie"], bool(arguments.get("excluded", True))
            movies = [movies] if isinstance(movies, str) else movies
            with store.transaction():
                for movie in movies:
                    store.exclude(movie, excluded)
            what = f"{movies[0]} is" if len(movies) == 1 else f"{len(movies):,} micrographs are"
            return f"{what} {'excluded' if excluded else 'included'}."
        case "mark_classes":
            identities, accepted = list(map(int, arguments["identities"])), arguments.get("accepted")
            store.mark_classes(identities, accepted)
            done = "unmarked" if accepted is None else "accepted" if accepted else "rejected"
            return f"{len(identities)} class{'es are' if len(identities) != 1 else ' is'} {done}."
        case "set_column":
            name, values = str(arguments["name"]), arguments["values"]
            count = store.drop_column(name) if values is None else store.set_column(name, values)
            return f"{count:,} micrographs {'had' if values is None else 'have'} {name}."
        case "add_pick" | "remove_pick":
            return _marked(store, arguments, add=command.name == "add_pick")
        case _:
            if arguments.get("expression") is not None:
                parse_filter(arguments["expression"])
            store.save_filter(arguments["name"], arguments.get("expression"))
            done = "deleted" if arguments.get("expression") is None else "saved"
            return f"Filter {arguments['name']} is {done}."


def _marked(store: Store, arguments: dict[str, Any], *, add: bool) -> str:
    """Add or remove a pick, and count the micrograph's particles anew."""
    movie, y, x = str(arguments["movie"]), float(arguments["y"]), float(arguments["x"])
    pixel_size, radius = store.check_place(movie, y, x), store.applied_settings()[1].picking.radius
    if radius is None:
        raise ValueError("no particle radius is given or estimated yet: it says how near a pick is meant")
    count = mark_pick(store.path.parent, movie, y, x, near=0.5 * radius / pixel_size, add=add)
    store.count_particles(movie, count)
    return f"A pick is {'added' if add else 'removed'}: {movie} has {count:,} particles."


def clear(store: Store, folder: Path, track: str) -> str:
    """Drop a track's results and all downstream, rows first, then files; nothing may be running.

    A transferred movie stays. Returns the sentence to answer with.
    """
    if track == "classify":
        dropped = store.clear_classes()
        _remove(folder, ("class2d",))
        return f"{dropped} round{'s' * (dropped != 1)} of 2D classification cleared."
    waiting = store.clear_transfer() if track == "transfer" else 0
    dropped = store.clear_preprocess()
    _remove(folder, (*MADE_BY_PREPROCESSING, "class2d"))
    forgotten = f", {waiting:,} waiting movies forgotten" if waiting else ""
    return f"{dropped:,} micrographs cleared{forgotten}; the transferred movies stay."


def _remove(folder: Path, names: tuple[str, ...]) -> None:
    """Put folders aside at once, make new ones, then delete; links are not followed."""
    for name in names:
        old, aside = folder / name, folder / f".cleared-{name}"
        if aside.exists():
            shutil.rmtree(aside)
        if old.exists():
            old.rename(aside)
        old.mkdir()
        shutil.rmtree(aside, ignore_errors=True)
