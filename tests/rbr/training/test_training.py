"""`train_sft` and `train_grpo`, called without job files, as in a user's script."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rbr.errors import InputError
from rbr.profile import ModelRef, SftSettings
from rbr.training import train_grpo, train_sft
from rbr.training.checkpoint import read_training_metrics
from tests.rl_settings import rl_settings
from tests.tiny_models import save_policy

pytestmark = pytest.mark.slow

PROMPTS = [[{"role": "user", "content": text}] for text in ("How do I boil an egg?", "Hi")]
SFT = SftSettings(epochs=2, learning_rate=1e-2, batch_size=1, max_length=64, seed=0)
GRPO = rl_settings(steps=3, prompts_per_step=1, max_completion_length=8, max_unscored=0.5)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_policy(tmp_path_factory.mktemp("policy"))


def test_fine_tuning_reports_every_step_and_returns_a_policy_that_can_be_saved(
    policy: ModelRef, tmp_path: Path
) -> None:
    steps: list[int] = []
    messages: list[str] = []
    rows = pl.DataFrame({"prompt": PROMPTS, "completion": ["Ten minutes.", "Hello."]})
    trained = train_sft(rows, policy, SFT, on_step=steps.append, on_message=messages.append)
    assert steps == [1, 2, 3, 4]
    assert messages[0].startswith("step 1 of 4: loss ")
    trained.save(tmp_path / "checkpoint")
    metrics = read_training_metrics(tmp_path / "checkpoint")
    assert metrics.equals(trained.metrics)
    assert metrics.filter(pl.col("metric") == "loss")["step"].to_list() == [1, 2, 3, 4]


def test_saving_replaces_an_earlier_checkpoint_as_a_whole(policy: ModelRef, tmp_path: Path) -> None:
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    (directory / "stale.txt").touch()
    rows = pl.DataFrame({"prompt": PROMPTS, "completion": ["Ten minutes.", "Hello."]})
    train_sft(rows, policy, SFT).save(directory)
    assert not (directory / "stale.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_grpo_passes_each_prompt_in_order_with_its_columns_to_any_reward_function(policy: ModelRef) -> None:
    seen: list[tuple[str, str]] = []

    def reward(prompts: list[Any], completions: list[Any], category: list[str], **_: Any) -> list[float | None]:
        assert len(prompts) == len(completions) == GRPO.num_generations
        seen.append((prompts[0][-1]["content"], category[0]))
        return [float(len(messages[0]["content"])) for messages in completions]

    rows = pl.DataFrame({"prompt": PROMPTS, "category": ["first", "second"]})
    trained = train_grpo(rows, policy, GRPO, reward)
    # After the last row, training continues at the first row.
    assert seen == [("How do I boil an egg?", "first"), ("Hi", "second"), ("How do I boil an egg?", "first")]
    assert trained.metrics.filter(pl.col("metric") == "reward").height == 3


def test_grpo_with_fewer_prompts_than_a_step_takes_is_refused_instead_of_training_nothing(policy: ModelRef) -> None:
    settings = GRPO.model_copy(update={"prompts_per_step": 3})
    rows = pl.DataFrame({"prompt": PROMPTS})
    with pytest.raises(InputError, match="a step takes 3 prompts, but there are only 2"):
        train_grpo(rows, policy, settings, lambda completions, **_: [0.0] * len(completions))


def test_unfinished_replies_and_replies_that_are_too_long_are_left_out_and_counted(policy: ModelRef) -> None:
    messages: list[str] = []
    rows = pl.DataFrame(
        {
            "prompt": [PROMPTS[0]] * 4,
            "completion": ["Ten minutes.", "Boil it for", "and so on " * 50, "Eight."],
            "finished": [True, False, True, True],
        }
    )
    train_sft(rows, policy, SFT, on_message=messages.append)
    assert messages[:2] == [
        "1 of 4 rows have an unfinished reply and are left out",
        "1 of 4 rows exceed sft.max_length and are left out",
    ]


@pytest.mark.parametrize(
    ("finished", "reply", "what"),
    [
        ([], "", "there are no training rows"),
        ([True, True], "and so on " * 50, "sft.max_length: all 2 training rows are longer than 64 tokens"),
        ([False, True], "and so on " * 50, "none of 2 .* the replies of 1 are unfinished, and 1 are longer than 64"),
        ([False, False], "Boil it for", "none of 2 .* the replies of 2 are unfinished, and 0 are longer than 64"),
    ],
)
def test_if_no_training_row_is_left_the_error_counts_why(
    policy: ModelRef, finished: list[bool], reply: str, what: str
) -> None:
    n = len(finished)
    frame = {"prompt": [PROMPTS[0]] * n, "completion": [reply] * n, "finished": finished}
    rows = pl.DataFrame(frame, schema_overrides={"finished": pl.Boolean})
    with pytest.raises(InputError, match=what):
        train_sft(rows, policy, SFT)


def test_grpo_leaves_out_prompts_that_the_policy_cannot_use_and_counts_them(policy: ModelRef) -> None:
    seen: list[str] = []
    messages: list[str] = []

    def reward(prompts: list[Any], completions: list[Any], **_: Any) -> list[float | None]:
        seen.append(prompts[0][-1]["content"])
        return [0.0] * len(completions)

    too_long = [{"role": "user", "content": "and so on " * 200}]
    rows = pl.DataFrame({"prompt": [PROMPTS[0], too_long, PROMPTS[1]]})
    train_grpo(rows, policy, GRPO, reward, on_message=messages.append)
    assert seen == ["How do I boil an egg?", "Hi", "How do I boil an egg?"]
    assert messages[0].startswith("1 of 3 prompts cannot be used and are left out; of the first: the prompt has ")
    assert "at most 248 fit" in messages[0]
    with pytest.raises(InputError, match="there are only 0; 1 more cannot be used, the first because the prompt has"):
        train_grpo(rows[1:2], policy, GRPO, reward)


def test_grpo_fails_as_soon_as_too_many_replies_of_the_whole_training_have_no_reward(policy: ModelRef) -> None:
    steps: list[int] = []

    def reward(completions: list[Any], **_: Any) -> list[float | None]:
        return [1.0, None, None, None]

    rows = pl.DataFrame({"prompt": PROMPTS})
    settings = GRPO.model_copy(update={"steps": 4})
    with pytest.raises(InputError, match=r"rl.max_unscored: 75.0% of the replies of the first 3 steps have no reward"):
        train_grpo(rows, policy, settings, reward, on_step=steps.append)
    assert steps == [1, 2, 3]
    train_grpo(rows, policy, settings.model_copy(update={"max_unscored": 0.75}), reward)
