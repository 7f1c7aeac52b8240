"""Pages that hold measured figures between two marks."""

from pathlib import Path

from rbr.errors import InputError


def write_between(page: Path, name: str, text: str) -> None:
    """Replaces what stands between ``<!-- name -->`` and ``<!-- /name -->``.

    Raises:
        InputError: The page is missing, or does not hold the two marks in this order.
    """
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    head, opened, rest = old.partition(first)
    _, closed, tail = rest.partition(last)
    if not (opened and closed):
        raise InputError(f"there is no place for {name!r}", where=str(page), mend=f"Write {first} and {last} into it.")
    page.write_text(f"{head}{first}\n{text.strip()}\n{last}{tail}", encoding="utf-8")
