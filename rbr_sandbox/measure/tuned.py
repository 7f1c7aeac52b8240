"""Replies of policies after RL: what the grader reads while it rewards, and when it judges.

The checkpoints of a run do not ship; the replies of one run do, so that the figures can be measured without it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rbr.conversation import prompt_id
from rbr.models.policy import Policy
from rbr.profile import ModelRef
from rbr_sandbox.measure.policy import plain_samples
from rbr_sandbox.replies import Judged, judge
from rbr_sandbox.world import WorldPrompt

REPLIES = Path(__file__).parents[1] / "data" / "tuned_replies.jsonl"


def write_tuned_replies(checkpoints: Mapping[str, Path], prompts: Sequence[WorldPrompt], path: Path = REPLIES) -> None:
    """Samples a reply to every prompt from each checkpoint and writes them.

    Args:
        checkpoints: Directory by variant.
        prompts: What they reply to.
        path: JSON Lines of ``{"variant", "prompt_id", "reply"}``.
    """
    rows = [
        {"prompt_id": prompt_id(judged.prompt.messages), "reply": judged.reply, "variant": variant}
        for variant, checkpoint in checkpoints.items()
        for judged in plain_samples(Policy(ModelRef(path=str(checkpoint), revision=None), 128), prompts, 1)
    ]
    path.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows), encoding="utf-8")


def read_tuned_replies(prompts: Sequence[WorldPrompt], path: Path = REPLIES) -> list[Judged]:
    """The written replies, judged by the oracle.

    Args:
        prompts: Those that were replied to.
        path: What `write_tuned_replies` wrote.

    Raises:
        KeyError: A reply is to none of the prompts: the world has changed since.
    """
    by_id = {prompt_id(prompt.messages): prompt for prompt in prompts}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [judge(by_id[row["prompt_id"]], row["reply"]) for row in rows]
