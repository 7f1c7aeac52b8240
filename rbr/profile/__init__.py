"""Profiles: the models, sizes and backends that one run of the method uses.

`profile` reads a profile. `section` has what its sections have in common; the other modules have the sections.
"""

from rbr.profile.grader_settings import GraderSettings, VllmSettings
from rbr.profile.model_settings import ModelRef, ModelSettings, PromptCheckSettings
from rbr.profile.profile import Profile, load_profile, parse_profile
from rbr.profile.sampling_settings import EvaluationSettings, ReplyLengths, SynthesisSettings
from rbr.profile.training_settings import Constraints, FitSettings, RlSettings, SftSettings

__all__ = [
    "Constraints",
    "EvaluationSettings",
    "FitSettings",
    "GraderSettings",
    "ModelRef",
    "ModelSettings",
    "Profile",
    "PromptCheckSettings",
    "ReplyLengths",
    "RlSettings",
    "SftSettings",
    "SynthesisSettings",
    "VllmSettings",
    "load_profile",
    "parse_profile",
]
