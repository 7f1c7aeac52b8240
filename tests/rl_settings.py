"""Settings of reinforcement learning for tests. A test sets only the settings that matter to it."""

from typing import Any

from rbr.profile import RlSettings


def rl_settings(**changes: Any) -> RlSettings:
    """Returns settings of a training of two short steps, with changed settings."""
    settings: dict[str, Any] = {
        "steps": 2,
        "prompts_per_step": 2,
        "num_generations": 4,
        "learning_rate": 1e-2,
        "beta": 0.1,
        "temperature": 1.0,
        "top_p": 1.0,
        "max_completion_length": 12,
        "scale_rewards": "batch",
        "on_refusal": "worst",
        "max_unscored": 1.0,
        "save_steps": 2,
        "seed": 0,
    }
    return RlSettings(**{**settings, **changes})
