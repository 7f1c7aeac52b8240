"""Reads and writes the generated sections of Markdown pages. Each section is between two markers."""

from pathlib import Path

from rbr.errors import InputError, Location


def write_section(page: Path, name: str, text: str) -> None:
    """Replaces the text between ``<!-- name -->`` and ``<!-- /name -->``.

    Raises:
        InputError: The page does not exist, or does not contain the two markers in this order.
    """
    before, _, after = _split_page(page, name)
    start, end = _markers(name)
    page.write_text(f"{before}{start}\n{text.strip()}\n{end}{after}", encoding="utf-8")


def read_section(page: Path, name: str) -> str:
    """Returns the text between the two markers.

    Raises:
        InputError: The page does not exist, or does not contain the two markers in this order.
    """
    return _split_page(page, name)[1].strip()


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def _split_page(page: Path, name: str) -> tuple[str, str, str]:
    """Returns the text before, between and after the markers."""
    start, end = _markers(name)
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, start_marker, rest = text.partition(start)
    section, end_marker, after = rest.partition(end)
    if not (start_marker and end_marker):
        hint = f"Write {start} and {end} into the page."
        raise InputError(f"the page has no section {name!r}", where=Location(str(page)), hint=hint)
    return before, section, after
