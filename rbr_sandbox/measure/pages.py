"""Pages that hold measured figures between two marks."""

from pathlib import Path

from rbr.errors import InputError


def write_between(page: Path, name: str, text: str) -> None:
    """Replaces what stands between ``<!-- name -->`` and ``<!-- /name -->``.

    Raises:
        InputError: The page is missing, or does not hold the two marks in this order.
    """
    head, _, tail = _cut(page, name)
    first, last = _marks(name)
    page.write_text(f"{head}{first}\n{text.strip()}\n{last}{tail}", encoding="utf-8")


def read_between(page: Path, name: str) -> str:
    """What stands between the two marks.

    Raises:
        InputError: As `write_between`.
    """
    return _cut(page, name)[1].strip()


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def _cut(page: Path, name: str) -> tuple[str, str, str]:
    """The page before, between and after the marks."""
    first, last = _marks(name)
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    head, opened, rest = old.partition(first)
    text, closed, tail = rest.partition(last)
    if not (opened and closed):
        raise InputError(f"there is no place for {name!r}", where=str(page), hint=f"Write {first} and {last} into it.")
    return head, text, tail
