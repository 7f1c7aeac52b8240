"""A misspelled proposition in the gold labels is named; a proposition that the rulebook lacks on purpose is not."""

from pathlib import Path

import pytest

from rbr.errors import Location
from rbr.files.data_files import located_labels
from rbr.files.misspelled_labels import misspelled_labels

KNOWN = ["apology", "fully_complies", "insulting_language", "judgement"]
SHARED = Path(__file__).resolve().parents[4] / "shared" / "inputs" / "X-misspelt-gold-label.jsonl"


def problems(*rows: str) -> list[str]:
    """Returns the first line of each problem; a row is its labels, separated by blanks."""
    located = [
        {name: Location("gold.jsonl", number, None, ("labels", name)) for name in row.split()}
        for number, row in enumerate(rows, start=1)
    ]
    return [f"{problem.where}, {problem.hint}" for problem in misspelled_labels(located, KNOWN)]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (["apology judgement"], []),
        (["apolgy"], ["gold.jsonl:1 labels.apolgy, Did you mean `apology`?"]),
        (
            ["apology", "apolgy judgment"],
            [
                "gold.jsonl:2 labels.apolgy, Did you mean `apology`?",
                "gold.jsonl:2 labels.judgment, Did you mean `judgement`?",
            ],
        ),
        (["apolgy", "apolgy"], [f"gold.jsonl:{line} labels.apolgy, Did you mean `apology`?" for line in (1, 2)]),
        # Propositions that the rulebook does not define, or defines no more.
        (["third_person apology"], []),
        (["partially_complies fully_complies", "partially_complies"], []),
        (["threatening_language insulting_language"], []),
        ([], []),
    ],
)
def test_a_misspelled_proposition_is_named_with_its_line_and_the_nearest_name(
    rows: list[str], found: list[str]
) -> None:
    assert problems(*rows) == found


@pytest.mark.skipif(not SHARED.exists(), reason="the shared inputs are not beside the repository")
def test_the_shared_input_is_refused() -> None:
    (problem,) = misspelled_labels(located_labels(SHARED), KNOWN)
    assert str(problem).endswith(
        "X-misspelt-gold-label.jsonl:1 labels.apolgy: the proposition 'apolgy' is not in the rulebook\n"
        "  Did you mean `apology`?"
    )
