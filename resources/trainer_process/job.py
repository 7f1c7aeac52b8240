"""Job files: everything that a training process needs to know.

The pipeline writes a job file and the process reads it, so this module imports neither Dagster nor torch.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from rbr.profile import GraderSettings, ModelRef, RlSettings, SftSettings


class _JobPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RewardSource(_JobPart):
    """The models and files of the reward of a reinforcement learning job (R_tot = R_rm + R_rbr).

    Attributes:
        reward_model: The reward model R_rm.
        artifact: Directory of the reward artifact with R_rbr; None if the reward is R_rm alone, as in the baselines.
        grader: The grader's model; None if a server has it.
        grader_settings: The grader's settings; required with an artifact.
        batch_size: Number of replies that the reward model scores together.
    """

    reward_model: ModelRef
    artifact: str | None = None
    grader: ModelRef | None = None
    grader_settings: GraderSettings | None = None
    batch_size: Annotated[int, Field(ge=1)] = 64

    @model_validator(mode="after")
    def _artifact_has_a_grader(self) -> "RewardSource":
        if self.artifact is not None and self.grader_settings is None:
            raise ValueError("a reward artifact needs grader_settings")
        return self


class _Job(_JobPart):
    """The fields of every job.

    Attributes:
        name: Name of the asset that the job trains, for progress and messages.
        model: The policy before training.
        data: Parquet file of the training rows. Training uses the rows in their order.
        output: Directory of the checkpoint. It is written completely or not at all.
        progress: Path of the `resources.progress_file.ProgressFile`; None to report no progress.
    """

    name: str
    model: ModelRef
    data: str
    output: str
    progress: str | None = None


class SftJob(_Job):
    """Supervised fine-tuning with `rbr.training.train_sft`."""

    kind: Literal["sft"] = "sft"
    settings: SftSettings


class GrpoJob(_Job):
    """Reinforcement learning with `rbr.training.train_grpo`."""

    kind: Literal["grpo"] = "grpo"
    settings: RlSettings
    reward: RewardSource


TrainingJob = Annotated[SftJob | GrpoJob, Field(discriminator="kind")]

_JOB: TypeAdapter[Any] = TypeAdapter(TrainingJob)


def parse_job(text: str | bytes) -> SftJob | GrpoJob:
    """Parses the JSON of a job file.

    Raises:
        pydantic.ValidationError: The text is not a valid job.
    """
    return _JOB.validate_json(text)
