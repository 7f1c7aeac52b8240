"""R_tot = R_rm + R_rbr as a reward function for TRL (paper section 4, Eq. 1)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rbr.conversation import Conversation, Message
from rbr.errors import InputError, nearest_spelling
from rbr.grading import Grader, open_grader
from rbr.grading.identity import identify_grader
from rbr.models.fingerprint import model_fingerprint
from rbr.reward.artifact import RewardArtifact

if TYPE_CHECKING:
    from rbr.models.reward_model import RewardModel
    from rbr.profile import GraderSettings, ModelRef

FloatArray = NDArray[np.float64]


class RuleBasedReward:
    """A TRL reward function that returns R_tot = R_rm + R_rbr; without an artifact, R_rm alone.

    If a grade or the score of a completion is missing, its reward is None. One function computes both terms, because
    TRL adds the values of several reward functions and counts a missing value as 0.

    Args:
        reward_model: The reward model R_rm.
        artifact: The fitted reward; None for a baseline without rules.
        grader: The grader that answers the propositions; required with an artifact.

    Raises:
        ValueError: There is an artifact, but no grader.

    Example:
        >>> class Length:  # Anything with this method can be the reward model.
        ...     def score(self, prompts, replies):
        ...         return np.array([len(reply) / 10 for reply in replies])
        >>> reward = RuleBasedReward(Length())
        >>> reward([[{"role": "user", "content": "Hi."}]], [[{"role": "assistant", "content": "Hello."}]])
        [0.6]
    """

    # TRL uses this name in its logs.
    __name__ = "r_tot"

    def __init__(
        self,
        reward_model: "RewardModel",
        artifact: RewardArtifact | None = None,
        grader: Grader | None = None,
    ) -> None:
        if artifact is not None and grader is None:
            raise ValueError("an artifact needs a grader")
        self._reward_model = reward_model
        self._artifact = artifact
        self._grader = grader

    @classmethod
    def open(
        cls,
        directory: str | Path,
        reward_model: "ModelRef",
        grader: "ModelRef | None",
        grader_settings: "GraderSettings",
        batch_size: int = 64,
    ) -> "RuleBasedReward":
        """Opens a reward directory with the models that its weights were fitted with.

        Args:
            directory: A directory that `RewardArtifact.save` wrote, such as ``var/reward`` after `rbr run`.
            reward_model: The reward model R_rm.
            grader: The grader that answers the propositions.
            grader_settings: Section `grader` of a profile.
            batch_size: Number of replies that R_rm scores together; affects the speed, not the scores.

        Raises:
            InputError: The directory contains no reward, a model cannot be opened, or the weights were fitted with
                another grader, another reward model or another `few_shot`.
        """
        artifact = RewardArtifact.load(directory)
        check_fitted_with(artifact, reward_model, grader, grader_settings)
        from rbr.models.reward_model import RewardModel

        return cls(RewardModel(reward_model, batch_size), artifact, open_grader(grader, grader_settings))

    def __call__(
        self,
        prompts: Sequence[Conversation],
        completions: Sequence[Conversation],
        *,
        category: Sequence[str] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **_: Any,
    ) -> list[float | None]:
        """Returns the reward of each completion.

        Args:
            prompts: Messages of each prompt; the last message is a user turn.
            completions: One reply per prompt, as a list with one assistant message.
            category: Content category of each prompt; required with an artifact.
            log_metric: Called with a name and a mean value, for R_rm, R_rbr and the probability of each class.
            **_: Other columns of the data set, which TRL passes; they are ignored.

        Returns:
            R_tot of each completion, in the order of `completions`; None if a grade or the score is missing.

        Raises:
            InputError: There is an artifact, and `category` is missing or contains an unknown category.
        """
        replies = [turns[-1]["content"] for turns in completions]
        r_rm = self._reward_model.score(prompts, replies)
        logged = {"r_rm": r_rm}
        r_tot = r_rm
        if self._artifact is not None:
            response_types = _response_types(self._artifact, category)
            r_rbr, class_probabilities = self._by_rules(prompts, replies, response_types)
            logged["r_rbr"] = r_rbr
            logged |= {f"class/{name}": values for name, values in class_probabilities.items()}
            r_tot = r_rm + r_rbr
        if log_metric is not None:
            for name, values in logged.items():
                if not np.isnan(values).all():
                    log_metric(name, float(np.nanmean(values)))
        return [None if np.isnan(value) else float(value) for value in r_tot]

    def _by_rules(
        self, prompts: Sequence[Conversation], replies: Sequence[str], response_types: Sequence[str]
    ) -> tuple[FloatArray, dict[str, FloatArray]]:
        """Returns R_rbr of the N replies, and the probability of each class by name; float64[N] each.

        The probability of a class is NaN if the reply's response type does not have the class.
        """
        assert self._artifact is not None and self._grader is not None
        r_rbr = np.full(len(replies), np.nan)
        class_names = dict.fromkeys(name for rules in self._artifact.rules.values() for name in rules.classes)
        class_probabilities = {name: np.full(len(replies), np.nan) for name in class_names}
        for response_type, rules in self._artifact.rules.items():
            rows = [row for row, row_type in enumerate(response_types) if row_type == response_type]
            if not rows:
                continue
            conversations = [[*prompts[row], Message(role="assistant", content=replies[row])] for row in rows]
            p_yes = self._grader.grade(conversations, self._artifact.questions_of(response_type))
            r_rbr[rows] = rules.r_rbr(p_yes)
            probabilities = rules.features.class_probabilities(p_yes)  # [rows, classes]
            for name, column in zip(rules.classes, probabilities.T, strict=True):
                class_probabilities[name][rows] = column
        return r_rbr, class_probabilities


def _response_types(artifact: RewardArtifact, category: Sequence[str] | None) -> list[str]:
    if category is None:
        raise InputError(
            "the reward needs the content category of each prompt",
            where="category",
            hint="Add a column `category` to the prompts.",
        )
    unknown = sorted(set(category) - set(artifact.response_types))
    if unknown:
        near = nearest_spelling(unknown[0], tuple(artifact.response_types))
        question = f"Did you mean {near}? " if near else ""
        raise InputError(
            f"unknown category {unknown[0]!r}",
            where="category",
            hint=f"{question}Categories of the reward: {', '.join(artifact.response_types)}.",
        )
    return [artifact.response_types[code] for code in category]


def check_fitted_with(
    artifact: RewardArtifact, reward_model: "ModelRef", grader: "ModelRef | None", grader_settings: "GraderSettings"
) -> None:
    """Checks that the weights of a reward were fitted with these models. Opens no model.

    Args:
        artifact: The fitted reward.
        reward_model: The reward model R_rm.
        grader: Model of the grader that answers the propositions; None if a server has it.
        grader_settings: Section `grader` of a profile.

    Raises:
        InputError: The weights were fitted with another grader, another reward model or another `few_shot`.

    Example:
        >>> from rbr.profile import load_profile
        >>> profile = load_profile("profiles/sandbox.yaml")
        >>> rm, grader = profile.models.helpful_reward_model, profile.models.grader
        >>> artifact = RewardArtifact(propositions={}, rules={}, response_types={}, few_shot=0,
        ...                           grader=identify_grader(grader, profile.grader),
        ...                           reward_model=model_fingerprint(rm))
        >>> check_fitted_with(artifact, rm, grader, profile.grader)
        >>> check_fitted_with(artifact, rm, grader, profile.grader.model_copy(update={"few_shot": 2}))
        Traceback (most recent call last):
        rbr.errors.InputError: grader.few_shot: few_shot is 2, but the weights were fitted with 0
        ...
    """
    _check_identity("grader", identify_grader(grader, grader_settings), artifact.grader)
    _check_identity("reward model", model_fingerprint(reward_model), artifact.reward_model)
    if grader_settings.few_shot != artifact.few_shot:
        raise InputError(
            f"few_shot is {grader_settings.few_shot}, but the weights were fitted with {artifact.few_shot}",
            where="grader.few_shot",
            hint=f"Set few_shot to {artifact.few_shot}, or fit the weights again.",
        )


def _check_identity(role: str, actual: str, fitted_with: str) -> None:
    if actual != fitted_with:
        raise InputError(
            f"the weights were fitted with another {role}: its identity is {actual}, and was {fitted_with}",
            where=role,
            hint=f"Use the same {role} with the same prompt and settings, or fit the weights again.",
        )
