"""Profiles: the models, sizes and backends that one run of the method uses.

`profile` reads a profile. `section` has what its sections have in common, and the other modules have the sections.
"""

from rbr.profile.grading import GraderSettings, VllmSettings
from rbr.profile.models import ModelRef, ModelSettings, PromptCheckSettings
from rbr.profile.profile import Profile, load_profile, parse_profile
from rbr.profile.sampling import EvaluationSettings, ReplyLengths, SynthesisSettings
from rbr.profile.training import Constraints, FitSettings, RlSettings, SftSettings

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
