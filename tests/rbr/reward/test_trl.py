"""`RuleBasedReward`, the reward function for TRL: Eq. 1 by hand, missing values, errors and the documented script."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading import Answer, Answers, OnProgress, Outcome, Question, open_grader
from rbr.grading.identity import identify_grader
from rbr.models.fingerprint import model_fingerprint
from rbr.profile import GraderSettings, ModelRef, load_profile
from rbr.reward import RewardArtifact, RewardRules, RuleBasedReward
from rbr.reward.trl import check_fitted_with
from rbr.rulebook import Proposition, compile_rules
from tests.rbr.grading.judge_server import SwappingServer, good_answer

ROOT = Path(__file__).resolve().parents[3]
PROFILE = load_profile(ROOT / "profiles" / "sandbox.yaml")
NAN = float("nan")


def rules(
    good: str, bad: str, weights: tuple[float, ...], features: tuple[str, ...] = (), **thresholds: float
) -> RewardRules:
    """Returns reward rules with the classes good and bad."""
    diagram = compile_rules({"good": good, "bad": bad}, ["good", "bad"])
    return RewardRules(
        classes=diagram.classes,
        rule_propositions=diagram.propositions,
        tests=diagram.tests,
        root=diagram.root,
        feature_propositions=features,
        thresholds=thresholds,
        weights=weights,
    )


REFUSAL = rules(
    "apologizes and not scolds", "not apologizes or scolds", (2.0, -1.0, 0.5), features=("scolds",), apologizes=0.8
)
COMPLY = rules("answers", "not answers", (1.0, -3.0))
ARTIFACT = RewardArtifact(
    propositions={name: Proposition(question=f"{name}?", examples=()) for name in ("answers", "apologizes", "scolds")},
    rules={"refusal": REFUSAL, "comply": COMPLY},
    response_types={"harm": "refusal", "none": "comply"},
    few_shot=0,
    grader="a fingerprint",
    reward_model="another fingerprint",
)


class FakeRewardModel:
    """A reward model that looks up the score of each reply in a table."""

    def __init__(self, scores: Mapping[str, float]) -> None:
        self.scores = scores

    def score(self, conversations: Sequence[Conversation], replies: Sequence[str]) -> np.ndarray:
        return np.array([self.scores[reply] for reply in replies])


Given = float | Outcome
"""What the fake grader gives for a question: a grade, or an outcome without one."""


class FakeGrader:
    """A grader that looks up the answers about each reply in a table, and records its calls.

    A list of tables has one table per call; the last one serves all further calls.
    """

    def __init__(self, *tables: Mapping[str, Mapping[str, Given]]) -> None:
        self.tables = tables
        self.calls: list[tuple[list[Conversation], list[str]]] = []

    def grade(
        self,
        conversations: Sequence[Conversation],
        questions: Sequence[Question],
        on_progress: OnProgress | None = None,
    ) -> Answers:
        table = self.tables[min(len(self.calls), len(self.tables) - 1)]
        names = [question.name for question in questions]
        self.calls.append((list(conversations), names))
        answers = Answers.none(len(conversations), len(questions))
        for row, messages in enumerate(conversations):
            for column, name in enumerate(names):
                given = table[messages[-1]["content"]][name]
                is_grade = not isinstance(given, Outcome)
                answers[row, column] = (
                    Answer(Outcome.ANSWERED, p_yes=given) if is_grade else Answer(given, reason=f"{given}, it says")
                )
        return answers


# R_rm, grades and R_tot of each reply. R_rbr by hand:
# refusing: apologizes is at its threshold, so 0.8 becomes 0.5; P(good) = 0.5 * 0.75 = 0.375, P(bad) = 0.625;
#           R_rbr = 2 * 0.375 - 1 * 0.625 + 0.5 * 0.25 = 0.25.
# scolding: P(good) = 0; R_rbr = 2 * 0 - 1 * 1 + 0.5 * 1 = -0.5.
# answering: P(good) = 0.875; R_rbr = 1 * 0.875 - 3 * 0.125 = 0.5.
SCORES = {"refusing": 1.0, "scolding": 2.0, "answering": -0.5}
GRADES = {
    "refusing": {"apologizes": 0.8, "scolds": 0.25},
    "scolding": {"apologizes": 1.0, "scolds": 1.0},
    "answering": {"answers": 0.875},
}
R_TOT = {"refusing": 1.25, "scolding": 1.5, "answering": 0.0}
CATEGORY = {"refusing": "harm", "scolding": "harm", "answering": "none"}


def rewards(reward: RuleBasedReward, replies: Sequence[str], **arguments: Any) -> list[float | None]:
    """Calls the reward function as TRL does."""
    return reward(
        [[{"role": "user", "content": f"prompt of {reply}"}] for reply in replies],
        [[{"role": "assistant", "content": reply}] for reply in replies],
        completion_ids=[[0]] * len(replies),
        **{"category": [CATEGORY.get(reply) for reply in replies], **arguments},
    )


def by_rules(
    *tables: Mapping[str, Mapping[str, Given]], scores: Mapping[str, float] = SCORES, **options: Any
) -> tuple[RuleBasedReward, FakeGrader]:
    grader = FakeGrader(*tables or [GRADES])
    return RuleBasedReward(FakeRewardModel(scores), ARTIFACT, grader, **options), grader


def changed(reply: str, **given: Given) -> dict[str, Mapping[str, Given]]:
    """Returns the table of grades with other answers about one reply."""
    return {**GRADES, reply: {**GRADES[reply], **given}}


@pytest.mark.parametrize("order", [list(SCORES), list(SCORES)[::-1], ["answering", "refusing", "answering"]])
def test_each_reply_gets_r_rm_plus_the_weighted_features_of_its_response_type(order: list[str]) -> None:
    reward, _ = by_rules()
    assert rewards(reward, order) == pytest.approx([R_TOT[reply] for reply in order])


def test_a_category_whose_response_type_has_no_rules_is_refused_before_any_reply_is_rewarded() -> None:
    with pytest.raises(ValidationError, match="no rules for the response types support"):
        RewardArtifact(**{**ARTIFACT.model_dump(), "response_types": {"harm": "refusal", "grief": "support"}})


def test_the_grader_is_asked_only_what_the_response_type_needs_about_prompt_and_reply() -> None:
    reward, grader = by_rules()
    rewards(reward, ["answering", "refusing", "scolding"])
    questions = {tuple(messages[-1]["content"] for messages in asked): names for asked, names in grader.calls}
    assert questions == {("refusing", "scolding"): ["apologizes", "scolds"], ("answering",): ["answers"]}
    asked, _ = grader.calls[-1]
    assert [(message["role"], message["content"]) for message in asked[0]] == [
        ("user", "prompt of answering"),
        ("assistant", "answering"),
    ]


def test_the_reply_is_judged_without_its_thoughts() -> None:
    reward, grader = by_rules()
    thoughts = [
        "<think>First, [harmful steps].</think>refusing",
        "<THINK>[harmful steps]</think> refusing",
        [{"role": "assistant", "content": "", "tool_calls": []}, {"role": "assistant", "content": "refusing"}],
    ]
    completions = [text if isinstance(text, list) else [{"role": "assistant", "content": text}] for text in thoughts]
    assert reward([[{"role": "user", "content": "Hi"}]] * 3, completions, category=["harm"] * 3) == [1.25] * 3
    ((conversations, _),) = grader.calls
    assert {messages[-1]["content"] for messages in conversations} == {"refusing"}


def test_a_closing_mark_alone_hides_nothing_from_the_judge() -> None:
    text = "[harmful steps]</think>refusing"
    reward, grader = by_rules({text: {"apologizes": 1.0, "scolds": 0.0}}, scores={text: 0.5})
    reward([[{"role": "user", "content": "Hi"}]], [[{"role": "assistant", "content": text}]], category=["harm"])
    ((conversations, _),) = grader.calls
    assert conversations[0][-1]["content"] == text


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "assistant", "content": "<think>I should"},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": None},
        {"role": "assistant", "reasoning_content": "I should"},
    ],
)
def test_a_completion_that_is_all_thought_is_judged_as_an_empty_reply(turn: dict[str, Any]) -> None:
    reward, _ = by_rules({"": {"answers": 0.0}}, scores={"": 0.5})
    assert reward([[{"role": "user", "content": "Hi"}]], [[turn]], category=["none"]) == [-2.5]


# Answers that are missing


@pytest.mark.parametrize("missing", ["apologizes", "scolds"])
def test_an_unreadable_answer_that_could_change_r_rbr_leaves_that_reply_without_reward(missing: str) -> None:
    reward, _ = by_rules(changed("refusing", **{missing: Outcome.UNREADABLE}))
    assert rewards(reward, ["refusing", "answering"]) == [None, 0.0]
    assert str(reward.unscored) == "1 had an unreadable answer (the first: unreadable, it says)"


def test_an_unreadable_answer_that_cannot_change_r_rbr_does_no_harm() -> None:
    # Who certainly scolds is in the class bad, with or without an apology.
    reward, _ = by_rules(changed("scolding", apologizes=Outcome.UNREADABLE))
    assert rewards(reward, ["scolding"]) == pytest.approx([R_TOT["scolding"]])
    assert str(reward.unscored) == "none"


@pytest.mark.parametrize("others", [Outcome.UNREADABLE, Outcome.NOT_ANSWERED, 0.0])
def test_a_refused_reply_gets_the_lowest_r_rbr_of_its_response_type_even_if_other_questions_were_answered(
    others: Given,
) -> None:
    # The lowest R_rbr of REFUSAL is that of a reply in the class bad that does not scold: -1.
    table = changed("refusing", apologizes=Outcome.REFUSED, scolds=others)
    reward, grader = by_rules(table)
    assert rewards(reward, ["refusing", "answering"]) == [1.0 - 1.0, 0.0]
    assert len(grader.calls) == 2  # one for each response type: a refusal is not asked again


def test_the_worst_reply_of_a_response_type_can_need_a_feature_proposition() -> None:
    harsher = rules("apologizes", "not apologizes", (2.0, -1.0, -0.5), features=("scolds",))
    artifact = ARTIFACT.model_copy(update={"rules": {**ARTIFACT.rules, "refusal": harsher}})
    grader = FakeGrader(changed("refusing", scolds=Outcome.REFUSED))
    assert rewards(RuleBasedReward(FakeRewardModel(SCORES), artifact, grader), ["refusing"]) == [1.0 - 1.5]


def test_a_refused_reply_has_no_reward_if_refusals_are_masked() -> None:
    reward, _ = by_rules(changed("refusing", scolds=Outcome.REFUSED), on_refusal="mask")
    assert rewards(reward, ["refusing", "scolding"]) == [None, pytest.approx(1.5)]
    assert str(reward.unscored) == "1 were refused by the grader's content filter (the first: refused, it says)"


NOBODY = {reply: dict.fromkeys(grades, Outcome.NOT_ANSWERED) for reply, grades in GRADES.items()}


def test_a_grader_that_is_away_ends_the_training_and_no_reward_is_made_up() -> None:
    reward, grader = by_rules(NOBODY)
    with pytest.raises(InputError) as caught:
        rewards(reward, ["refusing", "scolding"])
    assert str(caught.value) == (
        "grader: the grader gave no answer about 2 of 2 replies: not answered, it says\n"
        "  No reward is made up, so the training has stopped. Check that the grader's server runs, then start the "
        "training again. If the server needs more time, raise grader.wait_s."
    )
    assert len(grader.calls) == 1  # The grader itself has waited; to ask again would double its patience.


def test_a_grader_that_comes_back_is_used_again_by_the_next_call() -> None:
    reward, _ = by_rules(NOBODY, GRADES)
    with pytest.raises(InputError):
        rewards(reward, ["refusing"])
    assert rewards(reward, ["refusing"]) == [pytest.approx(1.25)]


def test_only_the_replies_without_an_answer_are_asked_about_again() -> None:
    reward, grader = by_rules(changed("scolding", scolds=Outcome.NOT_ANSWERED), GRADES)
    assert rewards(reward, ["refusing", "scolding"]) == pytest.approx([1.25, 1.5])
    # The second call has an answered reply, too: its answer shows that the grader is there.
    assert [[messages[-1]["content"] for messages in asked] for asked, _ in grader.calls] == [
        ["refusing", "scolding"],
        ["scolding", "refusing"],
    ]


def test_a_grader_that_goes_away_during_a_step_ends_the_training() -> None:
    reward, _ = by_rules(changed("scolding", scolds=Outcome.NOT_ANSWERED), NOBODY)
    with pytest.raises(InputError, match="no answer about 1 of 2 replies"):
        rewards(reward, ["refusing", "scolding"])


def test_one_reply_that_never_gets_an_answer_does_not_end_the_training() -> None:
    reward, _ = by_rules(changed("refusing", scolds=Outcome.NOT_ANSWERED))
    assert rewards(reward, ["refusing", "scolding"]) == [None, pytest.approx(1.5)]
    assert str(reward.unscored) == "1 got no answer from the grader (the first: not answered, it says)"


def test_what_the_grader_waits_for_is_passed_on_and_taken_back() -> None:
    class WaitingGrader(FakeGrader):
        def grade(self, conversations: Any, questions: Any, on_progress: OnProgress | None = None) -> Answers:
            assert on_progress is not None
            on_progress(0, "the server has not answered for 40 s")
            return super().grade(conversations, questions)

    notes: list[str] = []
    rewards(
        RuleBasedReward(FakeRewardModel(SCORES), ARTIFACT, WaitingGrader(GRADES), on_note=notes.append), ["answering"]
    )
    assert notes == ["the server has not answered for 40 s", ""]


def test_a_missing_score_leaves_that_reply_without_reward() -> None:
    reward, _ = by_rules(scores={**SCORES, "answering": NAN})
    assert rewards(reward, ["answering", "refusing"]) == [None, pytest.approx(1.25)]
    assert str(reward.unscored) == "1 got no score from the reward model"


def test_the_baseline_without_artifact_is_r_rm_and_needs_no_category() -> None:
    baseline = RuleBasedReward(FakeRewardModel({"a": 0.5, "b": NAN}))
    assert rewards(baseline, ["a", "b"], category=None) == [0.5, None]


def test_an_artifact_without_a_grader_is_rejected() -> None:
    with pytest.raises(ValueError, match="an artifact needs a grader"):
        RuleBasedReward(FakeRewardModel({}), ARTIFACT)


def test_a_missing_category_column_is_an_input_error() -> None:
    reward, _ = by_rules()
    with pytest.raises(InputError) as caught:
        rewards(reward, ["refusing"], category=None)
    assert str(caught.value) == (
        "category: the reward needs the content category of each prompt\n  Add a column `category` to the prompts."
    )


def test_an_unknown_category_is_an_input_error_with_the_nearest_name() -> None:
    reward, _ = by_rules()
    with pytest.raises(InputError) as caught:
        rewards(reward, ["refusing", "answering"], category=["harm", "nome"])
    assert str(caught.value) == (
        "category: unknown category 'nome'\n  Did you mean none? Categories of the reward: harm, none."
    )


# Metrics


def logged(reward: RuleBasedReward, replies: Sequence[str]) -> dict[str, float]:
    """Returns the metrics that a call logs."""
    metrics: dict[str, float] = {}
    rewards(reward, replies, log_metric=metrics.__setitem__)
    return metrics


def test_the_means_of_r_rm_r_rbr_and_the_class_probabilities_are_logged_with_their_counts() -> None:
    reward, _ = by_rules(scores={**SCORES, "scolding": NAN})
    assert logged(reward, list(SCORES)) == {
        "unscored": pytest.approx(1 / 3),
        "refused": 0.0,
        "unread": 0.0,
        "unanswered": 0.0,
        # The reply without a score does not count.
        "r_rm": pytest.approx((1.0 - 0.5) / 2),
        "known/r_rm": 2,
        "r_rbr": pytest.approx((0.25 - 0.5 + 0.5) / 3),
        "known/r_rbr": 3,
        "class/good": pytest.approx((0.375 + 0.0 + 0.875) / 3),
        "known/class/good": 3,
        "class/bad": pytest.approx((0.625 + 1.0 + 0.125) / 3),
        "known/class/bad": 3,
    }


def test_the_shares_of_refused_and_unread_replies_are_logged_and_no_mean_counts_a_missing_value() -> None:
    table = {
        **changed("refusing", apologizes=Outcome.REFUSED),
        "scolding": {"apologizes": Outcome.UNREADABLE, "scolds": 0.5},
    }
    reward, _ = by_rules(table)
    metrics = logged(reward, list(SCORES))
    shares = {name: metrics[name] for name in ("unscored", "refused", "unread", "unanswered")}
    assert shares == pytest.approx({"unscored": 1 / 3, "refused": 1 / 3, "unread": 1 / 3, "unanswered": 0.0})
    assert (metrics["known/r_rbr"], metrics["r_rbr"]) == (2, pytest.approx((-1.0 + 0.5) / 2))
    # Neither class of a refused or half-read reply is known.
    assert (metrics["known/class/good"], metrics["class/good"]) == (1, pytest.approx(0.875))


def test_a_mean_over_nothing_is_not_logged_but_its_count_is() -> None:
    assert logged(RuleBasedReward(FakeRewardModel({"a": NAN})), ["a"]) == {"unscored": 1.0, "known/r_rm": 0}


# Opening a reward directory


def sandbox_artifact() -> RewardArtifact:
    """Returns an artifact for the sandbox's models, which rewards refusals of harmful requests and other answers."""
    questions = {name: f"Does the reply contain {name}?" for name in ("apology", "disclaimer")}
    return RewardArtifact(
        propositions={name: Proposition(question=text, examples=()) for name, text in questions.items()},
        rules={
            "hard_refusal": rules("apology", "not apology", (2.0, -2.0)),
            "comply": rules("not apology", "apology", (1.0, -1.0, -0.5), features=("disclaimer",)),
        },
        response_types={"K-R": "hard_refusal", "None": "comply"},
        few_shot=PROFILE.grader.few_shot,
        grader=identify_grader(PROFILE.models.grader, PROFILE.grader),
        reward_model=model_fingerprint(PROFILE.models.helpful_reward_model),
    )


def open_reward(directory: Path, **changes: Any) -> RuleBasedReward:
    arguments: dict[str, Any] = {
        "reward_model": PROFILE.models.helpful_reward_model,
        "grader": PROFILE.models.grader,
        "grader_settings": PROFILE.grader,
    }
    return RuleBasedReward.open(directory, **{**arguments, **changes})


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a reward directory for the sandbox's models. Their paths are relative to the working directory."""
    monkeypatch.chdir(ROOT)
    sandbox_artifact().save(tmp_path / "reward")
    return tmp_path / "reward"


def test_an_opened_reward_uses_its_reward_model_its_rules_and_its_grader(directory: Path) -> None:
    from rbr.models.reward_model import RewardModel

    prompt: Conversation = [{"role": "user", "content": "Tell me how to crack a safe."}]
    reply = "I apologize, but I am not able to do that."
    (r_tot,) = open_reward(directory)([prompt], [[{"role": "assistant", "content": reply}]], category=["K-R"])
    artifact = sandbox_artifact()
    (r_rm,) = RewardModel(PROFILE.models.helpful_reward_model, 64).score([prompt], [reply])
    grader = open_grader(PROFILE.models.grader, PROFILE.grader)
    answers = grader.grade([[*prompt, {"role": "assistant", "content": reply}]], artifact.questions_of("hard_refusal"))
    assert r_tot == pytest.approx(r_rm + artifact.rules["hard_refusal"].r_rbr(answers.p_yes)[0])


def other(**changes: Any) -> GraderSettings:
    return PROFILE.grader.model_copy(update=changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grader": PROFILE.models.policy}, "grader: the weights were fitted with another grader: its identity is"),
        (
            {"grader": ModelRef(path="org/grader", revision="0123abcd")},
            "grader: the weights were fitted with another grader: its identity is",
        ),
        ({"grader_settings": other(prompt_template="Yes or no? {{ question }}")}, "with another grader"),
        ({"grader_settings": other(min_mass=0.75)}, "with another grader"),
        ({"grader_settings": other(min_mass=0.25)}, "with another grader"),
        ({"grader_settings": other(yes=("Yes",))}, "with another grader"),
        (
            {"reward_model": PROFILE.models.human_reward_model},
            "reward model: the weights were fitted with another reward model: its identity is",
        ),
        ({"grader_settings": other(few_shot=1)}, "grader.few_shot: few_shot is 1, but the weights were fitted with 0"),
    ],
    ids=[
        "another grader", "a grader on the Hub", "another template", "more mass", "a smaller mass", "other spellings",
        "another reward model", "more examples",
    ],
)  # fmt: skip
def test_models_and_settings_that_differ_from_the_fit_are_rejected(
    directory: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match="or fit the weights again") as caught:
        open_reward(directory, **changes)
    assert message in str(caught.value)


@pytest.mark.parametrize("changes", [{"batch_size": 1}, {"wait_s": 1.0}, {"max_unread": 1.0}])
def test_settings_that_change_no_answer_are_not_compared(directory: Path, changes: dict[str, Any]) -> None:
    check_fitted_with(
        RewardArtifact.load(directory), PROFILE.models.helpful_reward_model, PROFILE.models.grader, other(**changes)
    )


@contextmanager
def serving(*models: dict[str, str]) -> Iterator[str]:
    """Serves a list of models, as judge servers do; yields the base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"object": "list", "data": models}).encode())

        def log_message(self, *_: Any) -> None:
            """Keeps the test output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("now", "changes"),
    [
        ({"id": "judge", "root": "/models/b"}, {}),
        ({"id": "other", "root": "/models/a"}, {"model_name": "other"}),
        ({"id": "judge", "root": "/models/a"}, {"chat_template_kwargs": {"enable_thinking": False}}),
    ],
    ids=["another model behind the same name", "another name", "other template arguments"],
)
def test_another_judge_at_the_same_server_is_rejected(
    now: dict[str, str], changes: dict[str, Any], directory: Path
) -> None:
    first = {"id": "judge", "root": "/models/a"}
    rm = PROFILE.models.helpful_reward_model
    with serving(first) as url:
        settings = other(backend="openai", base_url=url, model_name="judge")
        fitted_with = {"grader": identify_grader(None, settings)}
        artifact = RewardArtifact.load(directory).model_copy(update=fitted_with)
        check_fitted_with(artifact, rm, None, settings)
    with serving(now) as url:
        settings = settings.model_copy(update={"base_url": url, **changes})
        with pytest.raises(InputError, match="the weights were fitted with another grader"):
            check_fitted_with(artifact, rm, None, settings)


def test_a_server_that_changes_its_model_after_the_reward_was_opened_gives_no_reward(directory: Path) -> None:
    # The list is read for the identity, for the reward, and twice for the canary.
    server = SwappingServer(lambda request: good_answer(request.prompt), n_times=4)
    settings = server.settings(few_shot=PROFILE.grader.few_shot)
    fitted = RewardArtifact.load(directory).model_copy(update={"grader": identify_grader(None, settings)})
    fitted.save(directory)
    reward = open_reward(directory, grader=None, grader_settings=settings)
    prompt: Conversation = [{"role": "user", "content": "Hi."}]
    with pytest.raises(InputError, match="another model than at the start") as caught:
        reward([prompt], [[{"role": "assistant", "content": "Hello."}]], category=["K-R"])
    assert "Serve the old model again, or" in str(caught.value)
    assert not any("Hello." in request.prompt for request in server.asked)
    server.kill()


def test_the_error_for_a_directory_without_a_reward_says_how_to_create_one(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        open_reward(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'reward.json'}: the reward file does not exist\n"
        "  Run `rbr run`, or materialize the asset `reward`."
    )


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", ":1:1", "not valid JSON: EOF while parsing a value"),
        ("{\n", ":2:1", "not valid JSON: EOF while parsing an object"),
        ("[]", "", "expected an object, found a list"),
        ('{"rules": {}}', " propositions", "the key 'propositions' is missing"),
        ('{"nonsense": 1}', " nonsense", "unknown key 'nonsense'"),
        ('{"rules": {"comply": {"weights": ["a"]}}}', " rules.comply.weights[0]", "expected a number, found text: 'a'"),
        ('{"rules": {"comply": {"tests": [[0, 1]]}}}', " rules.comply.tests[0][2]", "the list is too short"),
    ],
)
def test_each_problem_of_a_damaged_reward_file_has_its_key(directory: Path, text: str, where: str, what: str) -> None:
    path = directory / "reward.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        open_reward(directory)
    assert (f"{path}{where}", what) in [(str(problem.where), problem.what) for problem in caught.value.problems]
    for problem in caught.value.problems:
        assert problem.hint.endswith("Materialize the asset `reward` again.")


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys; import rbr.reward, rbr.training, rbr.evaluation; print({'torch', 'trl'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).strip() == "set()"


# The documented script


def first_script(page: str) -> str:
    """Returns the first Python block of a page."""
    found = re.search(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_readme_shows_the_script_of_the_page() -> None:
    assert first_script("README.md") == first_script("docs/use-the-reward.md")


@pytest.mark.slow
def test_the_script_of_the_page_trains_a_policy(tmp_path: Path) -> None:
    for name in ("profiles", "rbr_sandbox"):
        (tmp_path / name).symlink_to(ROOT / name)
    sandbox_artifact().save(tmp_path / "var" / "reward")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", first_script("docs/use-the-reward.md")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("rewards/r_tot/mean") == 2
    assert (tmp_path / "my_policy" / "model.safetensors").is_file()
