"""Grader settings for tests. A test sets only the settings that matter to it."""

from pathlib import Path
from typing import Any

from rbr.profile import GraderSettings, VllmSettings

SANDBOX_PROMPT = Path("rbr_sandbox/judge_prompt.jinja").read_text(encoding="utf-8")


def grader_settings(**changes: Any) -> GraderSettings:
    """Returns settings of an in-process grader that accepts any P(yes) + P(no), with changed settings."""
    settings: dict[str, Any] = {
        "backend": "transformers",
        "prompt_template": SANDBOX_PROMPT,
        "few_shot": 0,
        "yes": ("yes", "Yes"),
        "no": ("no", " no"),
        "min_mass": 0.0,
        "max_bound": 1.0,
        "max_unread": 0.05,
        "batch_size": 8,
        "category_bar": 0.5,
        "vllm": VllmSettings(dtype="auto", max_model_len=None, gpu_memory_utilization=0.9, tensor_parallel_size=1),
        "base_url": None,
        "model_name": None,
        "model_epoch": 0,
        "endpoint": "chat",
        "top_logprobs": 20,
        "chat_template_kwargs": {},
        "extra_body": {},
        "max_concurrency": 4,
        "timeout_s": 2.0,
        "wait_s": 5.0,
    }
    return GraderSettings(**{**settings, **changes})
