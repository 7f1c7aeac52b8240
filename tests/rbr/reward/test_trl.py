"""`RuleBasedReward`, the reward function for TRL: Eq. 1 by hand, missing values, errors and the documented script."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading import Question, open_grader
from rbr.models.fingerprint import model_fingerprint
from rbr.profile import GraderSettings, ModelRef, load_profile
from rbr.reward import RewardArtifact, RewardRules, RuleBasedReward
from rbr.rulebook import Proposition, compile_rules

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


class FakeGrader:
    """A grader that looks up the grades of each reply in a table, and records its calls."""

    def __init__(self, grades: Mapping[str, Mapping[str, float]]) -> None:
        self.grades = grades
        self.calls: list[tuple[list[Conversation], list[str]]] = []

    def grade(
        self,
        conversations: Sequence[Conversation],
        questions: Sequence[Question],
        on_progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        names = [question.name for question in questions]
        self.calls.append((list(conversations), names))
        return np.array([[self.grades[messages[-1]["content"]][name] for name in names] for messages in conversations])


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
    scores: Mapping[str, float] = SCORES, grades: Mapping[str, Mapping[str, float]] = GRADES
) -> tuple[RuleBasedReward, FakeGrader]:
    grader = FakeGrader(grades)
    return RuleBasedReward(FakeRewardModel(scores), ARTIFACT, grader), grader


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


@pytest.mark.parametrize("missing", ["apologizes", "scolds"])
def test_a_missing_grade_leaves_that_reply_without_reward(missing: str) -> None:
    reward, _ = by_rules(grades={**GRADES, "refusing": {**GRADES["refusing"], missing: NAN}})
    assert rewards(reward, ["refusing", "answering"]) == [None, 0.0]


def test_a_missing_score_leaves_that_reply_without_reward() -> None:
    reward, _ = by_rules(scores={**SCORES, "answering": NAN})
    assert rewards(reward, ["answering", "refusing"]) == [None, pytest.approx(1.25)]


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


def test_the_means_of_r_rm_r_rbr_and_the_class_probabilities_are_logged() -> None:
    reward, _ = by_rules(scores={**SCORES, "scolding": NAN})
    logged: dict[str, float] = {}
    rewards(reward, list(SCORES), log_metric=logged.__setitem__)
    assert logged == {
        # The reply without a score does not count.
        "r_rm": pytest.approx((1.0 - 0.5) / 2),
        "r_rbr": pytest.approx((0.25 - 0.5 + 0.5) / 3),
        # Only replies whose response type has the class count.
        "class/good": pytest.approx((0.375 + 0.0 + 0.875) / 3),
        "class/bad": pytest.approx((0.625 + 1.0 + 0.125) / 3),
    }


def test_a_metric_without_any_value_is_not_logged() -> None:
    logged: dict[str, float] = {}
    rewards(RuleBasedReward(FakeRewardModel({"a": NAN})), ["a"], log_metric=logged.__setitem__)
    assert logged == {}


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
        grader=model_fingerprint(PROFILE.models.grader),
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
    p_yes = grader.grade([[*prompt, {"role": "assistant", "content": reply}]], artifact.questions_of("hard_refusal"))
    assert r_tot == pytest.approx(r_rm + artifact.rules["hard_refusal"].r_rbr(p_yes)[0])


def other_few_shot() -> GraderSettings:
    return PROFILE.grader.model_copy(update={"few_shot": PROFILE.grader.few_shot + 1})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grader": PROFILE.models.policy}, "policy: the weights were fitted with another grader; this one has"),
        (
            {"reward_model": PROFILE.models.human_reward_model},
            "human_reward_model: the weights were fitted with another reward model; this one has",
        ),
        (
            {"grader": ModelRef(path="org/grader", revision="0123abcd")},
            "org/grader: the weights were fitted with another grader; this one has",
        ),
        ({"grader_settings": other_few_shot()}, "grader.few_shot: few_shot is 1, but the weights were fitted with 0"),
    ],
    ids=["another grader", "another reward model", "a grader on the Hub", "more examples"],
)
def test_models_and_settings_that_differ_from_the_fit_are_rejected(
    directory: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match="or fit the weights again") as caught:
        open_reward(directory, **changes)
    assert message in str(caught.value)


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
