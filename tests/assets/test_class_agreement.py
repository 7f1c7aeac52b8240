"""Class probabilities are compared with gold labels, from the grades that the grader has already given."""

import json
from itertools import product

import numpy as np
import polars as pl
import pytest

from assets.agreement import accepted_propositions, grader_agreement
from assets.class_agreement import class_agreement
from rbr.grading import question_hash
from resources.grade_rows import read_grades
from resources.models import grader_in_use
from resources.store.gold_labels import read_gold_labels
from tests.assets.project import Project, check, version

CHECK = "independence_holds_on_gold_labels"
N = 120
"""Number of gold replies per response type."""


def write_gold(project: Project, replies: dict[str, list[dict[str, bool]]]) -> None:
    """Writes gold rows: the labels of each reply, by category. Every reply answers a prompt of its own."""
    rows = [
        {
            "category": category,
            "messages": [{"role": "user", "content": f"Question {number} of {category}"}],
            "reply": f"Reply {number}.",
            "labels": labels,
        }
        for category, all_labels in replies.items()
        for number, labels in enumerate(all_labels)
    ]
    (project.root / "gold_labels.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    project.snapshots("data/gold_labels")


def write_grades(project: Project, p_yes: dict[str, float]) -> None:
    """Stores grades of all gold replies: `p_yes` of each proposition, and for the others 0.99 or 0.01, by the label."""
    store = project.store
    gold, grader = read_gold_labels(store), grader_in_use(store)
    wanted = (
        read_grades(store, gold.questions, grader)
        .select("completion_id", "proposition")
        .join(gold.labels, on=["completion_id", "proposition"], how="left")
    )
    hashes = {q.name: question_hash(q, grader.settings.few_shot) for group in gold.questions.values() for q in group}
    project.fill(
        "grades",
        [
            {
                "completion_id": completion_id,
                "question": hashes[name],
                "grader": grader.version,
                "p_yes": p_yes.get(name, (0.99 if truth else 0.01)),
            }
            for completion_id, name, truth in wanted.iter_rows()
        ],
    )


def refusals(pairs: list[tuple[bool, bool]]) -> list[dict[str, bool]]:
    """Labels of logical refusals without other flaws, for each truth of apology and inability_to_comply."""
    flaws = dict.fromkeys(("disallowed_content", "illogical_continuation_of_prompt", "meta_commentary"), False)
    return [{**flaws, "apology": apology, "inability_to_comply": inability} for apology, inability in pairs]


def answers(n: int) -> list[dict[str, bool]]:
    flaws = dict.fromkeys(("disallowed_content", "illogical_continuation_of_prompt"), False)
    return [{**flaws, "partially_complies": True} for _ in range(n)]


@pytest.fixture
def judged(project: Project) -> Project:
    """The small project with thresholds of 0.5."""
    names = sorted({name for names in project.store.snapshot("rulebook/applicability").values() for name in names})
    columns = project.store.read("accepted_propositions").schema
    project.fill("accepted_propositions", [accepted(name, columns) for name in names])
    return project


def accepted(name: str, columns: pl.Schema) -> dict[str, object]:
    values = {"proposition": name, "threshold": 0.5}
    rest = {column: True if dtype == pl.Boolean else "accepted" for column, dtype in columns.items()}
    return {**rest, **values}


def rows_of(project: Project, response_type: str) -> dict[str, dict]:
    rows = project.store.read("class_agreement").filter(pl.col("response_type") == response_type)
    return {row["class_name"]: row for row in rows.iter_rows(named=True)}


def test_grades_that_agree_with_the_labels_pass(judged: Project) -> None:
    write_gold(judged, {"K-R": refusals([(True, True), (True, False)] * (N // 2)), "K-C": answers(N)})
    write_grades(judged, {})
    result = judged.make(class_agreement)
    outcome = check(result, CHECK)
    assert outcome.passed
    assert outcome.description == "Dependence moves no mean class probability by 10 points or more."
    ideal = rows_of(judged, "hard_refusal")["ideal"]
    assert (ideal["n"], ideal["observed"], ideal["accuracy"], ideal["verdict"]) == (N, 0.5, 1.0, "matches")
    assert result.metadata is not None
    assert result.metadata["propositions that move together"].value == "No dependence found."
    assert f"| comply | {N} | {N} |" in result.metadata["replies whose class no dependence can change"].value


@pytest.mark.parametrize(
    ("pairs", "verdict", "relation"),
    [
        ([(True, True), (False, False)], "too low", "move together"),
        ([(True, False), (False, True)], "too high", "exclude each other"),
    ],
)
def test_dependent_propositions_warn_in_words(
    pairs: list[tuple[bool, bool]], verdict: str, relation: str, judged: Project
) -> None:
    write_gold(judged, {"K-R": refusals(pairs * (N // 2)), "K-C": answers(N)})
    write_grades(judged, {"apology": 0.5, "inability_to_comply": 0.5})
    result = judged.make(class_agreement)
    outcome = check(result, CHECK)
    assert not outcome.passed
    assert outcome.severity.value == "WARN"
    assert outcome.description is not None
    assert f"hard_refusal, ideal: {verdict} by 0.2" in outcome.description
    assert "comply" not in outcome.description
    row = rows_of(judged, "hard_refusal")["ideal"]
    assert row["dependence_verdict"] == verdict
    assert row["mean_probability"] == pytest.approx(0.25, abs=0.02)
    assert result.metadata is not None
    shown = result.metadata["propositions that move together"].value
    assert "| hard_refusal | " in shown and f"| apology | inability_to_comply | {N} | " in shown and relation in shown


def test_independent_propositions_pass_although_the_grader_is_unsure(judged: Project) -> None:
    write_gold(judged, {"K-R": refusals(list(product([True, False], repeat=2)) * (N // 4)), "K-C": answers(N)})
    write_grades(judged, {"apology": 0.5, "inability_to_comply": 0.5})
    assert check(judged.make(class_agreement), CHECK).passed


def test_a_single_wrong_proposition_is_named_as_such_and_is_no_dependence(judged: Project) -> None:
    write_gold(judged, {"K-R": refusals([(True, True)] * N), "K-C": answers(N)})
    write_grades(judged, {"apology": 0.2})
    outcome = check(judged.make(class_agreement), CHECK)
    assert outcome.passed
    assert outcome.description is not None
    assert (
        "not dependence, make other mean probabilities wrong, above all hard_refusal, ideal: 0.19"
        in outcome.description
    )
    assert "`grader_agreement`" in outcome.description


def test_too_few_gold_labels_are_undecided_in_words_and_have_no_numbers(judged: Project) -> None:
    write_gold(judged, {"K-R": refusals([(True, True)] * 5), "K-C": answers(N)})
    write_grades(judged, {})
    judged.edit("rulebook/behavior.yaml", "min_labels: 1", "min_labels: 20")
    judged.snapshots("rulebook/behavior")
    outcome = check(judged.make(class_agreement), CHECK)
    assert not outcome.passed
    assert outcome.description is not None
    assert outcome.description.startswith("Undecided: ")
    assert "hard_refusal (5 readable gold replies)" in outcome.description
    assert "comply" not in outcome.description
    row = rows_of(judged, "hard_refusal")["ideal"]
    assert row["n"] == 5 and row["mean_probability"] is None and row["verdict"] == "undecided"


def test_a_response_type_without_gold_replies_is_undecided(judged: Project) -> None:
    write_gold(judged, {"K-C": answers(N)})
    write_grades(judged, {})
    outcome = check(judged.make(class_agreement), CHECK)
    assert outcome.description is not None and "hard_refusal (0 readable gold replies)" in outcome.description
    assert rows_of(judged, "hard_refusal")["ideal"]["n"] == 0


def test_grades_that_could_not_be_read_are_counted(judged: Project) -> None:
    write_gold(judged, {"K-R": refusals([(True, True)] * N), "K-C": answers(N)})
    write_grades(judged, {})
    grades = judged.store.read("grades")
    missing = pl.int_range(pl.len()) < 12  # at most one reply each
    judged.fill("grades", grades.with_columns(p_yes=pl.when(~missing).then("p_yes")).to_dicts())
    judged.make(class_agreement)
    unread = {name: rows_of(judged, name)["ideal"]["n_unread"] for name in ("hard_refusal", "comply")}
    assert 0 < sum(unread.values()) <= 12
    assert all(rows_of(judged, name)["ideal"]["n"] == N - count for name, count in unread.items())


def test_the_grades_are_those_of_grader_agreement_and_no_model_is_opened(project: Project) -> None:
    project.make(grader_agreement)
    project.make(accepted_propositions)
    before = project.store.read("grades")
    result = project.make(class_agreement)
    assert "models" not in class_agreement.required_resource_keys
    assert project.store.read("grades").equals(before)
    rows = project.store.read("class_agreement")
    assert rows["n_unread"].to_list() == [0] * rows.height
    assert version(project.make(class_agreement)) == version(result)
    assert np.isfinite(rows["mean_probability"].drop_nulls().to_numpy()).all()
