"""The reward R_tot = R_rm + R_rbr: weight fitting, the reward file, and the reward function for TRL (paper section 4).

Importing this package does not import torch; opening a reward does. Import the functions `fit` and `fit_problems` from
their modules. The package does not export these functions, because they would hide the modules of the same names.
"""

from rbr.reward.artifact import RewardArtifact, RewardRules, build_artifact
from rbr.reward.error_rates import ErrorRates
from rbr.reward.explanation import Explanation, PropositionGrade, RewardTerm, explain, explain_without_weights
from rbr.reward.fit_problems import FitProblem
from rbr.reward.fit_result import FitResult
from rbr.reward.trl import RuleBasedReward

__all__ = [
    "ErrorRates",
    "Explanation",
    "FitProblem",
    "FitResult",
    "PropositionGrade",
    "RewardArtifact",
    "RewardRules",
    "RewardTerm",
    "RuleBasedReward",
    "build_artifact",
    "explain",
    "explain_without_weights",
]
