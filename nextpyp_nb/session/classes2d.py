"""The 2D classes of a session: what they are, and what people say of them."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nextpyp_nb.session import tables
from nextpyp_nb.session.inbox import Receipt
from nextpyp_nb.session.places import place
from nextpyp_nb.session.reader import Reader
from nextpyp_nb.settings import Settings


class Classes2d:
    """The part of a `Session` that is about classes; ``identity`` names a class for good."""

    folder: Path
    _reader: Reader

    @property
    def classes(self) -> pd.DataFrame:
        """The classes of the last round; ``accepted`` is the mark by hand, else what the rule says."""
        return self._table("classes")

    @property
    def rounds(self) -> pd.DataFrame:
        """Rounds of 2D classification."""
        return self._table("rounds")

    def class_history(self) -> pd.DataFrame:
        """One row a round that is done, oldest first; ``picture`` is a small JPEG, None once dropped.

        ``accepted`` particles are those of classes accepted today; ``churn`` is the share of particles seen
        again that changed class.
        """
        table = tables.class_history(self._reader)
        pictures = [place(self.folder, "classes_picture", number) for number in table["round"]]
        table["picture"] = pd.Series([p if p.is_file() else None for p in pictures], dtype=object)
        return table

    def accept_classes(self, identities: Sequence[int], *, actor: str | None = None) -> Receipt:
        """Accept classes, whatever the rule says, in this round and those to come."""
        return self._mark(identities, True, actor)

    def reject_classes(self, identities: Sequence[int], *, actor: str | None = None) -> Receipt:
        """Reject classes, whatever the rule says, in this round and those to come."""
        return self._mark(identities, False, actor)

    def unmark_classes(self, identities: Sequence[int], *, actor: str | None = None) -> Receipt:
        """Leave classes to the rule again."""
        return self._mark(identities, None, actor)

    def set_class_rule(self, expression: str | None, *, actor: str | None = None) -> Receipt:
        """Accept classes that pass, such as "resolution<=12 & share>=0.02"; None or "" for no rule.

        It is the setting class2d.accept, in force as soon as it is saved; marks by hand stand above it.
        """
        return self.save_settings(self.settings.updated({"class2d.accept": expression or ""}), actor=actor)

    def use_classes_as_templates(self, identities: Sequence[int], *, actor: str | None = None) -> Receipt:
        """Save settings that pick what looks like these classes of the last round; Restart applies them."""
        return self._command("use_templates", {"identities": _whole(identities)}, actor, launch=True)

    def update_classes(self, *, actor: str | None = None) -> Receipt:
        """Start a round of 2D classification now."""
        return self._command("update_classes", {}, actor)

    def _mark(self, identities: Sequence[int], accepted: bool | None, actor: str | None) -> Receipt:
        arguments = {"identities": _whole(identities), "accepted": accepted}
        return self._command("mark_classes", arguments, actor)

    def _with_classes(self, particles: pd.DataFrame) -> pd.DataFrame:
        number = self._reader.value("SELECT MAX(number) FROM round WHERE state = 'done'")
        path = None if number is None else place(self.folder, "assignments", number)
        if path is None or not path.is_file():
            return particles.assign(class_number=0)
        with np.load(path, allow_pickle=False) as stored:
            assigned = pd.DataFrame(
                {
                    "movie": stored["names"][stored["micrograph"]],
                    "pick": stored["pick"],
                    "class_number": stored["class_number"],
                }
            )
        joined = particles.merge(assigned, on=["movie", "pick"], how="left")
        return joined.fillna({"class_number": 0}).astype({"class_number": int})

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """The newest settings."""

    @abstractmethod
    def save_settings(self, settings: Settings, *, actor: str | None = None) -> Receipt:
        """Keep settings as a new revision."""

    @abstractmethod
    def _table(self, name: str) -> pd.DataFrame: ...

    @abstractmethod
    def _command(
        self, name: str, arguments: dict[str, Any], actor: str | None, *, launch: bool = False
    ) -> Receipt: ...


def _whole(identities: Sequence[int]) -> list[int]:
    return [int(identity) for identity in identities]
