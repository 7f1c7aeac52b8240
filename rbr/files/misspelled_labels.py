"""Finds misspelled propositions in gold labels. A label under a misspelled name would be used by nothing."""

from collections.abc import Collection, Mapping, Sequence

from rbr.errors import InputError, Location, nearest_spelling


def misspelled_labels(rows: Sequence[Mapping[str, Location]], known: Collection[str]) -> list[InputError]:
    """Returns one problem for each label whose proposition is misspelled.

    A gold file may label propositions that the rulebook does not define, because they were removed from it, or belong
    to another rulebook. An unknown name is a misspelling if it is spelled like a known proposition that its row does
    not label, and if no other row labels both.

    Args:
        rows: For each row of the file, the location of each label by proposition.
        known: The propositions of the rulebook.

    Example:
        >>> rows = [{"apolgy": Location("gold.jsonl", 1, None, ("labels", "apolgy"))}]
        >>> print(misspelled_labels(rows, ["apology", "judgement"])[0])
        gold.jsonl:1 labels.apolgy: the proposition 'apolgy' is not in the rulebook
          Did you mean `apology`?
    """
    pairs = [
        (name, near, where)
        for row in rows
        for name, where in row.items()
        if name not in known and (near := nearest_spelling(name, tuple(sorted({*known} - {*row}))))
    ]
    unknown = {(name, near) for name, near, _ in pairs}
    labeled_together = {pair for pair in unknown if any(row.keys() >= set(pair) for row in rows)}
    return [
        InputError(f"the proposition {name!r} is not in the rulebook", where=where, hint=f"Did you mean `{near}`?")
        for name, near, where in pairs
        if (name, near) not in labeled_together
    ]
