"""Columns of the table of micrographs that people make, as they are stored."""

import math
import re
from collections.abc import Mapping

from nextpyp_nb.session.database import Database

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,60}")


class OwnColumns(Database):
    """What the store writes of such columns."""

    def set_column(self, name: str, values: Mapping[str, float | None]) -> int:
        """Keep the numbers of micrographs by name; None takes one away. Returns how many are known."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"got column {name!r}, expected a lower-case word such as my_metric")
        if name in self._taken_names():
            raise ValueError(
                f"the table of micrographs has a column {name} of its own: give yours another name"
            )
        with self.transaction():
            for micrograph, value in values.items():
                where = "movie_id = (SELECT id FROM movie WHERE name = ?) AND name = ?"
                self._run(f"DELETE FROM own_value WHERE {where}", micrograph, name)
                if value is not None and math.isfinite(float(value)):
                    self._run(
                        "INSERT INTO own_value SELECT g.movie_id, ?, ? FROM micrograph g"
                        " JOIN movie m ON m.id = g.movie_id WHERE m.name = ?",
                        name, float(value), micrograph,
                    )  # fmt: skip
        return int(self._value("SELECT COUNT(*) FROM own_value WHERE name = ?", name))

    def drop_column(self, name: str) -> int:
        """Forget a column; returns how many numbers it had."""
        with self.transaction():
            return int(self._run("DELETE FROM own_value WHERE name = ?", name).rowcount)

    def _taken_names(self) -> set[str]:
        rows = self._rows("SELECT name FROM pragma_table_info('micrograph')")
        rows += self._rows("SELECT name FROM pragma_table_info('movie')")
        return {row["name"] for row in rows} | {"defocus", "astigmatism", "latency"}
