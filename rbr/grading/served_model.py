"""What a server says about the model that it serves."""

from typing import TYPE_CHECKING, Any

from rbr.errors import InputError

if TYPE_CHECKING:
    from rbr.profile import GraderSettings


def served_model(settings: "GraderSettings") -> dict[str, Any]:
    """Returns what the server says about the model (the client of the branch that follows replaces this)."""
    raise InputError("the server does not answer", where=settings.base_url or "grader.base_url")
