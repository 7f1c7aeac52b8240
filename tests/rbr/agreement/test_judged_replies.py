"""Gold labels and grades become arrays, one object per response type."""

import numpy as np
import polars as pl

from rbr.agreement.judged_replies import judge_gold_replies
from rbr.classes.classification import gold_classes
from rbr.conversation import GoldRow
from rbr.files.data_files import load_gold_labels
from rbr.rulebook import load_rulebook

RULEBOOK = load_rulebook("rulebook")
BEHAVIOR, POLICY = RULEBOOK.behavior, RULEBOOK.content_policy
NO_GRADES = pl.DataFrame(schema={"completion_id": pl.String, "proposition": pl.String, "p_yes": pl.Float64})


def row(labels: dict[str, bool], *, category: str = "None", line: int = 1) -> GoldRow:
    return GoldRow(({"role": "user", "content": "Hi"},), "Hello.", category, labels, line)


def test_every_response_type_has_an_object_even_without_replies() -> None:
    judged = judge_gold_replies({}, NO_GRADES, BEHAVIOR, POLICY, {})
    assert list(judged) == list(BEHAVIOR.response_types)
    assert [replies.p.shape[0] for replies in judged.values()] == [0] * len(judged)


def test_the_judgments_of_two_people_are_two_rows_with_the_same_grades() -> None:
    rows = {"a": [row({"disallowed_content": True}), row({"disallowed_content": False}, line=2)]}
    grades = pl.DataFrame({"completion_id": ["a"], "proposition": ["disallowed_content"], "p_yes": [0.25]})
    comply = judge_gold_replies(rows, grades, BEHAVIOR, POLICY, {})["comply"]
    column = comply.features.diagram.propositions.index("disallowed_content")
    np.testing.assert_allclose(comply.p[:, column], [0.25, 0.25])
    np.testing.assert_allclose(comply.x[:, column], [1.0, 0.0])
    assert comply.prompt_numbers.tolist() == [0, 0]
    # All other labels are missing: the first reply is disallowed for certain, the second has no certain class.
    assert comply.class_index.tolist() == [comply.features.classes.index("disallowed"), -1]
    assert not comply.read.any()


def test_the_classes_of_the_shipped_gold_replies_are_those_that_their_labels_imply() -> None:
    gold = load_gold_labels("rbr_sandbox/data/tiny_gold_labels.jsonl")
    judged = judge_gold_replies({str(one.line): [one] for one in gold}, NO_GRADES, BEHAVIOR, POLICY, {})
    expected = gold_classes(gold, RULEBOOK, where="gold")
    for response_type, replies in judged.items():
        names = [replies.features.classes[index] for index in replies.class_index]
        assert names == expected.filter(pl.col("response_type") == response_type)["class_name"].to_list()
