"""The masking trainer: completions without a reward do not change the policy."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_models import save_policy

pytestmark = pytest.mark.slow

PROMPTS = ["How do I boil an egg?", "I feel low today."]
GENERATIONS = 4


def make_trainer(directory: Path, reward: Any, **changes: Any) -> Any:
    from datasets import Dataset
    from trl import GRPOConfig

    from rbr.models.pretrained import open_tokenizer
    from rbr.training.arguments import model_arguments, shared_arguments
    from rbr.training.masking import MaskingGRPOTrainer

    ref = save_policy(directory / "policy")
    rows = [{"prompt": [{"role": "user", "content": text}], "category": "None"} for text in PROMPTS]
    return MaskingGRPOTrainer(
        model=ref.path,
        processing_class=open_tokenizer(ref),
        reward_funcs=[reward],
        train_dataset=Dataset.from_list(rows),
        args=GRPOConfig(
            **shared_arguments(str(directory / "scratch"), 0),
            model_init_kwargs=model_arguments(None),
            max_steps=4,
            learning_rate=1e-2,
            per_device_train_batch_size=len(PROMPTS) * GENERATIONS,
            num_generations=GENERATIONS,
            max_completion_length=8,
            beta=0.5,
            scale_rewards="batch",
            shuffle_dataset=False,
            **changes,
        ),
    )


def batch_of(trainer: Any) -> dict[str, Any]:
    trainer.model.train()
    rows = [row for row in trainer.train_dataset for _ in range(GENERATIONS)]
    return trainer._generate_and_score_completions(rows)


def reward_of(values: list[float | None]) -> Any:
    def reward(completions: list[Any], **_: Any) -> list[float | None]:
        return values

    return reward


VALUES: list[float | None] = [1.0, None, 3.0, 2.0, 7.0, 7.0, None, 4.0]
UNSCORED = [1, 6]


def test_the_baseline_is_the_mean_of_the_scored_completions_of_the_prompt(tmp_path: Path) -> None:
    batch = batch_of(make_trainer(tmp_path, reward_of(VALUES)))
    scored = torch.tensor([value for value in VALUES if value is not None])
    deviation = scored.std() + 1e-4
    expected = torch.tensor([-1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, -2.0]) / deviation
    torch.testing.assert_close(batch["advantages"], expected)


def test_a_completion_without_a_reward_is_excluded_from_the_loss(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, reward_of(VALUES))
    batch = batch_of(trainer)
    assert batch["completion_mask"][UNSCORED].sum() == 0
    assert batch["num_items_in_batch"] == batch["completion_mask"].sum() > 0
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            # Move away from the reference, so that the KL term is not 0.
            parameter += 0.05 * torch.randn_like(parameter)

    def gradient(batch: dict[str, Any]) -> torch.Tensor:
        trainer.model.zero_grad()
        trainer.current_gradient_accumulation_steps = 1
        trainer._compute_loss(trainer.model, batch).backward()
        return torch.cat([parameter.grad.flatten() for parameter in trainer.model.parameters()])

    others = {**batch, "completion_ids": batch["completion_ids"].clone()}
    others["completion_ids"][UNSCORED] = 7
    before = gradient(batch)
    assert before.abs().max() > 0
    torch.testing.assert_close(gradient(others), before)

    without = [row for row in range(len(VALUES)) if row not in UNSCORED]
    rows = {
        name: value[without] if isinstance(value, torch.Tensor) and value.ndim else value
        for name, value in batch.items()
    }
    torch.testing.assert_close(gradient(rows), before)


@pytest.mark.parametrize("optimizer", [{"optim": "sgd"}, {"optim": "adamw_torch", "weight_decay": 0.1}])
def test_a_step_without_any_reward_changes_nothing_and_is_counted(tmp_path: Path, optimizer: dict[str, Any]) -> None:
    calls = iter([VALUES, [None] * 8, VALUES, [None] * 8])

    def reward(completions: list[Any], **_: Any) -> list[float | None]:
        return next(calls)

    trainer = make_trainer(tmp_path, reward, **optimizer)
    weights: list[torch.Tensor] = []
    moments: list[torch.Tensor] = []

    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            weights.append(torch.cat([value.detach().flatten().clone() for value in trainer.model.parameters()]))
            state_of = trainer.optimizer.state_dict()["state"]
            moments.append(
                torch.cat(
                    [value["exp_avg"].flatten().clone() for value in state_of.values() if "exp_avg" in value]
                    or [torch.zeros(1)]
                )
            )

    trainer.add_callback(Watch())
    trainer.train()
    for before, after in ((0, 1), (2, 3)):
        torch.testing.assert_close(weights[after], weights[before], atol=0, rtol=0)
        torch.testing.assert_close(moments[after], moments[before], atol=0, rtol=0)
    assert (weights[2] != weights[1]).any()
    assert [entry["skipped"] for entry in trainer.state.log_history if "skipped" in entry] == [0.0, 1.0, 0.0, 1.0]
    assert [entry["unscored"] for entry in trainer.state.log_history if "unscored" in entry] == [0.25, 1.0, 0.25, 1.0]


def test_closing_marks_alone_and_special_tokens_are_counted_and_judged(tmp_path: Path) -> None:
    seen: list[str] = []

    def reward(completions: list[Any], **_: Any) -> list[float | None]:
        seen.extend(turns[-1]["content"] for turns in completions)
        return [0.0] * len(completions)

    trainer = make_trainer(tmp_path, reward)
    trainer.model.train()
    texts = ["[harmful steps]</think>No.", "Yes<|user|> and no.", "Use `<think>` and `</think>`.", "<think>Hm."]
    ids = [trainer._tokenizer.encode(text) for text in texts]
    rows = [trainer.train_dataset[0]] * len(texts)
    turns = [[{"role": "assistant", "content": text}] for text in texts]
    trainer._calculate_rewards(rows, [row["prompt"] for row in rows], turns, ids)
    assert seen == ["[harmful steps]</think>No.", "Yes and no.", "Use `<think>` and `</think>`.", ""]
    names = ("unopened_thoughts", "special_tokens", "unclosed_thoughts")
    assert [trainer._metrics["train"][name] for name in names] == [[0.25]] * 3
