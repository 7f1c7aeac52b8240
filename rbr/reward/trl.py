"""R_tot = R_rm + R_rbr as a reward function for TRL (paper section 4, Eq. 1)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rbr.conversation import Conversation, Message
from rbr.errors import InputError
from rbr.grading import Grader, open_grader
from rbr.models.fingerprint import model_fingerprint
from rbr.reward.artifact import RewardArtifact

if TYPE_CHECKING:
    from rbr.models.reward_model import RewardModel
    from rbr.profile import GraderSettings, ModelRef

FloatArray = NDArray[np.float64]


class RuleBasedReward:
    """A TRL reward function that returns R_tot; with no artifact, R_rm alone.

    R_rm and R_rbr come from one function because TRL adds what several return and takes a missing one for 0.
    Here a completion without a score or without a grade has no reward at all.

    Args:
        reward_model: R_rm.
        artifact: The fitted reward; None for a baseline that reads no rule.
        grader: Reads the propositions; needed with an artifact.
    """

    # TRL names a reward function by this in its logs.
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
        grader: "ModelRef",
        grader_settings: "GraderSettings",
        batch_size: int = 64,
    ) -> "RuleBasedReward":
        """Opens a reward directory with its models.

        Args:
            directory: As `RewardArtifact.save` wrote it.
            reward_model: R_rm, the one it was fitted on.
            grader: The grader, the one it was fitted with.
            grader_settings: How it is asked.
            batch_size: Replies scored together by R_rm.

        Raises:
            InputError: There is no reward, or a model is not the one that the weights belong to.
        """
        from rbr.models.reward_model import RewardModel

        artifact = RewardArtifact.load(directory)
        _check_model("grader", grader, artifact.grader)
        _check_model("reward model", reward_model, artifact.reward_model)
        if grader_settings.few_shot != artifact.few_shot:
            raise InputError(
                f"is {grader_settings.few_shot}; the weights were fitted with {artifact.few_shot}",
                where="grader.few_shot",
                hint=f"Set it to {artifact.few_shot}, or fit again.",
            )
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
        """Rewards completions.

        Args:
            prompts: Messages, each ending in a user turn.
            completions: One reply each, as a list of one assistant message.
            category: Content category of each prompt; needed with an artifact.
            log_metric: Takes the mean R_rm, the mean R_rbr and the share of each class.

        Returns:
            R_tot of each completion; None where a grade or the score is missing.

        Raises:
            InputError: There is an artifact and no category, or one that it does not know.
        """
        replies = [turns[-1]["content"] for turns in completions]
        r_rm = self._reward_model.score(prompts, replies)
        logged = {"r_rm": r_rm}
        r_tot = r_rm
        if self._artifact is not None:
            response_types = _response_types(self._artifact, category)
            r_rbr, classes = self._by_rules(prompts, replies, response_types)
            logged["r_rbr"] = r_rbr
            logged |= {f"class/{name}": share for name, share in classes.items()}
            r_tot = r_rm + r_rbr
        if log_metric is not None:
            for name, values in logged.items():
                if not np.isnan(values).all():
                    log_metric(name, float(np.nanmean(values)))
        return [None if np.isnan(value) else float(value) for value in r_tot]

    def _by_rules(
        self, prompts: Sequence[Conversation], replies: Sequence[str], response_types: Sequence[str]
    ) -> tuple[FloatArray, dict[str, FloatArray]]:
        """R_rbr, and the probability of each class, NaN where it is not one of the response type."""
        assert self._artifact is not None and self._grader is not None
        r_rbr = np.zeros(len(replies))
        names = dict.fromkeys(name for rules in self._artifact.rules.values() for name in rules.classes)
        classes = {name: np.full(len(replies), np.nan) for name in names}
        for response_type, rules in self._artifact.rules.items():
            rows = [row for row, kind in enumerate(response_types) if kind == response_type]
            if not rows:
                continue
            judged = [[*prompts[row], Message(role="assistant", content=replies[row])] for row in rows]
            p_yes = self._grader.grade(judged, self._artifact.questions_of(response_type))
            r_rbr[rows] = rules.r_rbr(p_yes)
            for name, share in zip(rules.classes, rules.features.class_probabilities(p_yes).T, strict=True):
                classes[name][rows] = share
        return r_rbr, classes


def _response_types(artifact: RewardArtifact, category: Sequence[str] | None) -> list[str]:
    if category is None:
        raise InputError(
            "the reward needs the content category of each prompt",
            where="category",
            hint="Add a column `category` to the prompts.",
        )
    unknown = sorted(set(category) - set(artifact.response_types))
    if unknown:
        raise InputError(
            f"the reward knows no category {unknown[0]!r}",
            where="category",
            hint=f"Use one of {', '.join(artifact.response_types)}.",
        )
    return [artifact.response_types[code] for code in category]


def _check_model(role: str, ref: "ModelRef", fingerprint: str) -> None:
    if model_fingerprint(ref) != fingerprint:
        raise InputError(
            f"is not the {role} that the weights were fitted with",
            where=ref.path,
            hint=f"Give the {role} with the fingerprint {fingerprint}, or fit again.",
        )
