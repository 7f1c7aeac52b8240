"""What a training process is told to do; free of heavy imports, since the pipeline writes it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from rbr.profile import GraderSettings, ModelRef, RlSettings, SftSettings


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RewardSource(_Part):
    """Where the reward of a reinforcement learning job comes from (R_tot = R_rm + R_rbr).

    Attributes:
        reward_model: R_rm.
        artifact: Directory of a fitted reward; None rewards by R_rm alone, as the baselines do.
        grader: The grader's model; needed with an artifact.
        grader_settings: How the grader is asked; needed with an artifact.
        batch_size: Replies scored together by the reward model.
    """

    reward_model: ModelRef
    artifact: str | None = None
    grader: ModelRef | None = None
    grader_settings: GraderSettings | None = None
    batch_size: Annotated[int, Field(ge=1)] = 64

    @model_validator(mode="after")
    def _artifact_has_a_grader(self) -> "RewardSource":
        if self.artifact is not None and (self.grader is None or self.grader_settings is None):
            raise ValueError("a reward artifact needs grader and grader_settings")
        return self


class _Job(_Part):
    """What both kinds of job have in common.

    Attributes:
        name: The asset that is being made, for progress and messages.
        model: Policy to start from.
        data: Parquet file of training rows, read in order.
        output: Directory of the checkpoint. It appears complete or not at all.
        progress: File for `resources.progress_file.ProgressFile`, or None.
    """

    name: str
    model: ModelRef
    data: str
    output: str
    progress: str | None = None


class SftJob(_Job):
    """Supervised fine-tuning; rows are ``prompt`` (messages) and ``completion`` (text)."""

    kind: Literal["sft"] = "sft"
    settings: SftSettings


class GrpoJob(_Job):
    """Reinforcement learning; rows are ``prompt`` (messages), ``category``, and what else the reward reads.

    Step i trains on rows i * prompts_per_step and following; a file that is too short starts again.
    """

    kind: Literal["grpo"] = "grpo"
    settings: RlSettings
    reward: RewardSource


TrainingJob = Annotated[SftJob | GrpoJob, Field(discriminator="kind")]

_JOB: TypeAdapter[Any] = TypeAdapter(TrainingJob)


def parse_job(text: str | bytes) -> SftJob | GrpoJob:
    """Reads a job from its JSON; raises ``pydantic.ValidationError`` where it is none."""
    return _JOB.validate_json(text)
