"""Reads a gold file for one rulebook: every category and proposition must be a name that the rulebook knows."""

from pathlib import Path

from rbr.comparisons.categories import unknown_categories
from rbr.conversation import GoldRow
from rbr.errors import InputError
from rbr.files.data_files import load_gold_labels, located_categories, located_labels
from rbr.files.misspelled_labels import misspelled_labels
from rbr.files.schema_errors import sorted_by_line
from rbr.rulebook import Rulebook


def load_gold_rows(path: str | Path, rulebook: Rulebook) -> list[GoldRow]:
    """Reads a gold file, and compares its names with a rulebook.

    Args:
        path: Gold file; see `rbr.files.data_files.load_gold_labels`.
        rulebook: The rulebook. A gold file may label propositions of other rulebooks, unless a name is misspelled.

    Raises:
        InputError: The file cannot be read, a category is not in the content policy, or a proposition is misspelled.
            All problems are reported, each with file and line.

    Example:
        >>> from rbr.rulebook import load_rulebook
        >>> rows = load_gold_rows("rbr_sandbox/data/tiny_gold_labels.jsonl", load_rulebook("rulebook"))
        >>> rows[0].labels["apology"]
        True
    """
    rows = load_gold_labels(path)
    problems = unknown_categories(located_categories(path), rulebook.content_policy.categories)
    problems += misspelled_labels(located_labels(path), rulebook.propositions)
    if problems:
        raise InputError.collect(sorted_by_line(problems))
    return rows
