"""Reads and writes the replies of policies after RL, on which the grader is measured.

The replies come from the checkpoints of one pipeline run. The replies ship; the checkpoints do not.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rbr.conversation import prompt_id
from rbr.models.policy import Policy
from rbr.profile import ModelRef
from rbr_sandbox.measure.measure_policy import sample_plain_replies
from rbr_sandbox.replies import JudgedReply, judge
from rbr_sandbox.world_prompt import WorldPrompt

REPLIES = Path(__file__).parents[1] / "data" / "tuned_replies.jsonl"


def write_tuned_replies(checkpoints: Mapping[str, Path], prompts: Sequence[WorldPrompt], path: Path = REPLIES) -> None:
    """Samples a reply to every prompt from each checkpoint, and writes the replies.

    Args:
        checkpoints: Variant -> directory of its checkpoint.
        prompts: Prompts to reply to.
        path: JSON Lines file of ``{"variant", "prompt_id", "reply"}``.
    """
    rows = [
        {"prompt_id": prompt_id(judged.prompt.messages), "reply": judged.reply, "variant": variant}
        for variant, checkpoint in checkpoints.items()
        for judged in sample_plain_replies(Policy(ModelRef(path=str(checkpoint), revision=None), 128), prompts, 1)
    ]
    path.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows), encoding="utf-8")


def read_tuned_replies(prompts: Sequence[WorldPrompt], path: Path = REPLIES) -> list[JudgedReply]:
    """Reads the replies, and asks the oracle for the truth about them.

    Args:
        prompts: Prompts that the replies answer.
        path: File from `write_tuned_replies`.

    Raises:
        KeyError: A reply answers none of the prompts, because the world has changed since the file was written.
    """
    by_id = {prompt_id(prompt.messages): prompt for prompt in prompts}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [judge(by_id[row["prompt_id"]], row["reply"]) for row in rows]
