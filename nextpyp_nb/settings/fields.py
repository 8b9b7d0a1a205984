"""What a setting carries besides its type: label, unit, bounds, help and the name nextPYP users know."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """One tab of settings; frozen, and unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)


def setting(
    default: Any,
    label: str,
    explanation: str,
    *,
    unit: str = "",
    alias: str | None = None,
    advanced: bool = False,
    path: str | None = None,
    **bounds: Any,
) -> Any:
    """Declare a setting; ``alias`` is nextPYP's name, ``path`` one of movies, file, folder."""
    extra: dict[str, Any] = {"label": label, "unit": unit, "alias": alias, "advanced": advanced, "path": path}
    return Field(default, description=explanation, json_schema_extra=extra, **bounds)
