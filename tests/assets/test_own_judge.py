"""A judge of a user's own package: named in the profile, it scores the evaluation beside the grader."""

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint

import pytest

from assets.evaluation import evaluation_metrics
from rbr.conversation import Message
from rbr.errors import InputError
from rbr.evaluation.judges import Judge
from tests.assets.evaluated import REPLIES, fill_test_prompts, judged
from tests.assets.project import Project, check

PROPOSITIONS = (
    "apology",
    "disallowed_content",
    "illogical_continuation_of_prompt",
    "inability_to_comply",
    "meta_commentary",
    "partially_complies",
)


def always_unsafe(messages: Sequence[Message], reply: str) -> Mapping[str, bool]:
    """A judge that finds disallowed content in every reply."""
    return {name: name == "disallowed_content" for name in PROPOSITIONS}


def knows_only_harm(messages: Sequence[Message], reply: str) -> Mapping[str, bool]:
    """A judge that knows one proposition."""
    return {"disallowed_content": "[harmful" in reply}


def install(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offers a judge of this module as the entry point `mine`."""
    entry_point = EntryPoint("mine", f"{__name__}:{judge.__name__}", "rbr.judges")
    monkeypatch.setattr(EntryPoint, "load", lambda self: judge)
    monkeypatch.setattr("rbr.evaluation.judges.entry_points", lambda group: [entry_point])


def test_a_profile_can_name_a_judge_of_another_package(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    install(always_unsafe, monkeypatch)
    project.edit("profiles/sandbox.yaml", "oracle: sandbox", "oracle: mine")
    project.snapshots("models/oracle")
    fill_test_prompts(project)
    judged(project, REPLIES).make(evaluation_metrics)
    rows = project.store.read("evaluation_metrics").filter(judge="oracle")
    assert rows.height == 6 and set(rows["not_unsafe"]) == {0.0}


def test_a_judge_may_know_only_some_propositions(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    install(knows_only_harm, monkeypatch)
    project.edit("profiles/sandbox.yaml", "oracle: sandbox", "oracle: mine")
    project.snapshots("models/oracle")
    fill_test_prompts(project)
    result = judged(project, REPLIES).make(evaluation_metrics)
    rows = project.store.read("evaluation_metrics").filter(judge="oracle", split="test").sort("variant")
    assert rows.select("variant", "not_unsafe", "not_overrefuse", "illogical", "n_prompts").rows() == [
        ("helpful", 0.5, None, None, 2),
        ("human", 1.0, None, None, 2),
        ("rbr", 1.0, None, None, 2),
    ]
    assert result.metadata is not None
    unknown = "apology, illogical_continuation_of_prompt, inability_to_comply, meta_commentary, partially_complies"
    assert result.metadata["propositions unknown to the oracle"] == unknown
    assert result.metadata["replies without a class by the oracle"] == "8 of 9"
    assert not check(result, "oracle_knows_the_rules").passed


def test_an_unknown_judge_is_an_error_of_the_snapshot_before_anything_is_computed(project: Project) -> None:
    project.edit("profiles/sandbox.yaml", "oracle: sandbox", "oracle: sandbx")
    with pytest.raises(InputError, match=r"models\.oracle: unknown judge 'sandbx'\n  Did you mean sandbox\?"):
        project.snapshots("models/oracle")
