"""A profile: the data files, the models and the settings of one run, read from YAML.

A profile is a complete YAML file; no setting has a default in code. With ``extends: NAME`` a profile lists only the
settings that differ from those of ``NAME.yaml`` in the same directory.
"""

from pathlib import Path

from pydantic import model_validator

from rbr.errors import InputError
from rbr.files.profile_document import ProfileDocument, read_profile_document
from rbr.files.schema_errors import schema_problem, validate
from rbr.files.text_file import read_text
from rbr.profile.grader_settings import GraderSettings
from rbr.profile.model_settings import ModelSettings, PromptCheckSettings
from rbr.profile.sampling_settings import EvaluationSettings, ReplyLengths, SynthesisSettings
from rbr.profile.section import Section, Text
from rbr.profile.training_settings import FitSettings, RlSettings, SftSettings

_HINT_IF_MISSING = "Add `{key}:`, or extend a complete profile."


class Profile(Section):
    """The data files and the settings of one run, by stage.

    Attributes:
        prompts: Path of the prompts file.
        gold_labels: Path of the gold file.

    Example:
        >>> load_profile("profiles/tiny.yaml").prompts
        'rbr_sandbox/data/tiny_prompts.jsonl'
    """

    prompts: Text
    gold_labels: Text
    models: ModelSettings
    prompt_check: PromptCheckSettings
    synthesis: SynthesisSettings
    grader: GraderSettings
    fit: FitSettings
    sft: SftSettings
    rl: RlSettings
    evaluation: EvaluationSettings

    def reply_lengths(self) -> ReplyLengths:
        """Returns the longest reply of each stage that samples replies."""
        return ReplyLengths(
            synthesis=self.synthesis.max_new_tokens,
            rl=self.rl.max_completion_length,
            evaluation=self.evaluation.max_new_tokens,
        )

    @model_validator(mode="after")
    def _check_grader(self) -> "Profile":
        needs_files = self.grader.backend != "openai" or self.grader.endpoint == "completions"
        if self.models.grader is None and needs_files:
            what = "only the backend openai with the endpoint chat works without the files of the grader"
            raise schema_problem(what, "Set the path of the model.", at=("models", "grader"))
        if self.grader.backend != "transformers" and self.models.grader and self.models.grader.dtype != "float32":
            what = f"the backend {self.grader.backend} does not open the model in the type {self.models.grader.dtype}"
            hint = "Remove `dtype`. vLLM takes grader.vllm.dtype, and a server chooses the type itself."
            raise schema_problem(what, hint, at=("models", "grader", "dtype"))
        return self


def load_profile(path: str | Path) -> Profile:
    """Reads a profile and the profiles that it extends.

    Args:
        path: YAML file of the profile.

    Raises:
        InputError: A file cannot be read, profiles extend each other in a circle, keys are missing or unknown, or
            values are out of range. All problems are reported, each with file, line and key.

    Example:
        >>> load_profile("profiles/tiny.yaml").evaluation.test_fraction
        0.2
    """
    return parse_profile(read_profile_document(path))


def parse_profile(document: ProfileDocument) -> Profile:
    """Checks the settings of a profile document, and reads the prompt template that it names.

    The document still knows the location of each setting.

    Raises:
        InputError: Keys are missing or unknown, values are out of range, or the template cannot be read.

    Example:
        >>> document = read_profile_document("profiles/tiny.yaml")
        >>> parse_profile(document).rl.steps, document.location(("rl", "steps")).file
        (2, 'profiles/tiny.yaml')
    """
    profile = validate(Profile, document, hint_if_missing=_HINT_IF_MISSING)
    try:
        template = read_text(profile.grader.prompt_template)
    except InputError as error:
        where = document.location(("grader", "prompt_template"))
        raise InputError(
            error.what, where=where, hint="Name an existing file, such as profiles/judge_prompt.jinja."
        ) from error
    grader = profile.grader.model_copy(update={"prompt_template": template})
    return profile.model_copy(update={"grader": grader})
