"""The grader is measured against gold labels, and its propositions are accepted or not."""

import json

import polars as pl
import pytest

from assets.agreement import accepted_propositions, grader_agreement
from rbr.errors import InputError
from resources.store.table_content import read_accepted_propositions, read_thresholds
from tests.assets.project import Project, check, version

CHECK = "class_rules_use_accepted_propositions"
RULES_NEED = (
    "apology",
    "disallowed_content",
    "illogical_continuation_of_prompt",
    "inability_to_comply",
    "meta_commentary",
    "partially_complies",
)


def relabel(project: Project, line: int, proposition: str) -> None:
    """Flips one gold label."""
    path = project.root / "gold_labels.jsonl"
    rows = [json.loads(text) for text in path.read_text().splitlines()]
    rows[line]["labels"][proposition] = not rows[line]["labels"][proposition]
    path.write_text("\n".join(map(json.dumps, rows)))
    project.snapshots("data/gold_labels")


def agreed(project: Project) -> dict[str, dict]:
    return {row["proposition"]: row for row in project.store.read("grader_agreement").iter_rows(named=True)}


# The measurement


def test_the_grader_is_measured_on_every_proposition_that_has_labels(project: Project) -> None:
    result = project.make(grader_agreement)
    rows = agreed(project)
    assert set(rows) == set(RULES_NEED)
    apology = rows["apology"]
    assert apology["balanced_accuracy"] == apology["f1"] == apology["balanced_accuracy_high"] == 1.0
    assert 0.5 < apology["balanced_accuracy_low"] < 1.0
    assert apology["prevalence"] == pytest.approx(2 / 7)
    assert 0.0 < apology["threshold"] < 1.0
    assert result.metadata is not None
    assert result.metadata["dagster/row_count"] == 6
    assert "| apology | 7 |" in result.metadata["agreement"].value


def test_a_label_counts_only_if_the_response_type_of_its_reply_needs_the_proposition(project: Project) -> None:
    project.make(grader_agreement)
    counts = {name: row["n"] for name, row in agreed(project).items()}
    # Seven gold replies are to a prompt to refuse, six to one to comply with.
    assert counts == {
        "apology": 7,
        "inability_to_comply": 7,
        "meta_commentary": 7,
        "partially_complies": 6,
        "disallowed_content": 13,
        "illogical_continuation_of_prompt": 13,
    }
    assert project.store.read("grades").height == sum(counts.values())


def test_measuring_again_gives_the_same_version_and_a_flipped_label_another(project: Project) -> None:
    before = version(project.make(grader_agreement))
    grades = project.store.read("grades")
    assert version(project.make(grader_agreement)) == before
    relabel(project, 0, "apology")
    assert version(project.make(grader_agreement)) != before
    assert agreed(project)["apology"]["balanced_accuracy"] < 1.0
    assert project.store.read("grades").equals(grades)
    relabel(project, 0, "apology")
    assert version(project.make(grader_agreement)) == before


@pytest.mark.slow
def test_a_flipped_label_that_no_response_type_asks_for_changes_nothing(project: Project) -> None:
    before = version(project.make(grader_agreement))
    relabel(project, 12, "apology")
    assert version(project.make(grader_agreement)) == before


def test_a_reworded_question_regrades_its_own_proposition_only(project: Project) -> None:
    project.make(grader_agreement)
    before = project.store.read("grades").height
    project.edit("rulebook/propositions.yaml", "exactly one short apology?", "exactly one apology?")
    project.snapshots("rulebook/propositions")
    project.make(grader_agreement)
    assert project.store.read("grades").height == before + 7


def test_a_gold_category_that_is_not_in_the_policy_is_refused(project: Project) -> None:
    path = project.root / "gold_labels.jsonl"
    path.write_text(path.read_text().replace('"K-C"', '"K-X"'))
    project.snapshots("data/gold_labels")
    with pytest.raises(InputError, match=r"data/gold_labels.*'K-X' is not in the content policy"):
        project.make(grader_agreement)


# The consequences, from figures written by hand


def measured(name: str, accuracy: float | None, *, n: int = 20, threshold: float = 0.4) -> dict[str, object]:
    unknown = accuracy is None
    return {
        "proposition": name,
        "n": n,
        "prevalence": 0.5,
        "balanced_accuracy": accuracy,
        "balanced_accuracy_low": None if unknown else accuracy - 0.1,
        "balanced_accuracy_high": None if unknown else min(accuracy + 0.1, 1.0),
        "f1": accuracy,
        "threshold": threshold,
    }


def all_good(**others: dict[str, object]) -> list[dict[str, object]]:
    return [others.get(name, measured(name, 0.9)) for name in RULES_NEED]


@pytest.mark.parametrize(
    ("accuracy", "accepted"),
    [(1.0, True), (0.7, True), (0.699, False), (0.5, False), (None, False)],
)
def test_a_proposition_is_accepted_if_its_agreement_reaches_the_bar(
    accuracy: float | None, accepted: bool, project: Project
) -> None:
    project.fill("grader_agreement", all_good(apology=measured("apology", accuracy)))
    outcome = check(project.make(accepted_propositions), CHECK)
    assert ("apology" in read_accepted_propositions(project.store)) is accepted
    assert set(read_accepted_propositions(project.store)) >= set(RULES_NEED) - {"apology"}
    assert outcome.passed is accepted
    below = outcome.metadata["below the bar or without labels"].value
    assert below == ("none" if accepted else "apology")


def test_a_proposition_can_have_its_own_bar(project: Project) -> None:
    project.fill("grader_agreement", all_good())
    project.edit("rulebook/behavior.yaml", "bar: 0.7", "bar: 0.7\n  per_proposition: {apology: 0.95}")
    project.snapshots("rulebook/behavior")
    assert not check(project.make(accepted_propositions), CHECK).passed
    assert set(read_accepted_propositions(project.store)) == set(RULES_NEED) - {"apology"}


def test_a_proposition_that_nobody_labeled_fails_the_check_by_name(project: Project) -> None:
    project.fill("grader_agreement", [row for row in all_good() if row["proposition"] != "meta_commentary"])
    outcome = check(project.make(accepted_propositions), CHECK)
    assert not outcome.passed
    assert outcome.metadata["below the bar or without labels"].value == "meta_commentary"


def test_a_proposition_that_no_class_rule_names_may_stay_below_the_bar(project: Project) -> None:
    project.fill("grader_agreement", [*all_good(), measured("spare", 0.5)])
    assert check(project.make(accepted_propositions), CHECK).passed
    assert "spare" not in read_accepted_propositions(project.store)


def test_every_proposition_keeps_its_threshold(project: Project) -> None:
    project.fill("grader_agreement", all_good(apology=measured("apology", 0.5, threshold=0.8)))
    project.make(accepted_propositions)
    assert read_thresholds(project.store) == {**dict.fromkeys(RULES_NEED, 0.4), "apology": 0.8}


def test_the_version_depends_on_acceptance_and_threshold_only(project: Project) -> None:
    project.fill("grader_agreement", all_good())
    before = version(project.make(accepted_propositions))
    project.fill("grader_agreement", all_good(apology=measured("apology", 0.8, n=50)))
    assert version(project.make(accepted_propositions)) == before
    project.fill("grader_agreement", all_good(apology=measured("apology", 0.9, threshold=0.6)))
    assert version(project.make(accepted_propositions)) != before
    project.fill("grader_agreement", all_good(apology=measured("apology", 0.6)))
    assert version(project.make(accepted_propositions)) != before


def test_the_page_shows_what_is_accepted(project: Project) -> None:
    project.fill("grader_agreement", all_good())
    result = project.make(accepted_propositions)
    assert result.metadata is not None
    assert result.metadata["dagster/row_count"] == len(RULES_NEED)
    assert "| apology | 0.4 | True |" in result.metadata["preview"].value
    assert project.store.read("accepted_propositions").schema["accepted"] == pl.Boolean
