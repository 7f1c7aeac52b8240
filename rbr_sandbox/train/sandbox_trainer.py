"""Trains the sandbox models: a base, which does not ship, and the four models that start from its weights."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from rbr.rulebook import load_rulebook
from rbr_sandbox.annotators import Utility, helpful_utility, human_utility
from rbr_sandbox.train.base_replies import sample_base_replies
from rbr_sandbox.train.train_grader import finish_grader, train_grader
from rbr_sandbox.train.train_policy import new_model, sharpen, train_policy
from rbr_sandbox.train.train_reward_models import train_reward_model
from rbr_sandbox.train.train_tokenizer import tokenizer_corpus, train_tokenizer

SEED = 20241101
STEPS = {"base": 1500, "policy": 4000, "grader": 4800, "helpful_reward_model": 2500, "human_reward_model": 2500}
READING_STEPS, FINISHING_STEPS = 2500, 900
"""Steps of the grader without questions, and in its finishing stage."""
SAMPLES = 15_000
"""Number of the base's replies that the grader learns from; the finishing stage adds the same number."""
SHARPNESS = 1.3
"""Factor on the logits of the policy; see `rbr_sandbox.train.train_policy.sharpen`."""
CHECKSUMS = "SHA256SUMS"


@dataclass(frozen=True)
class SandboxTrainer:
    """Trains sandbox models and saves them.

    Attributes:
        rulebook: Directory of the rulebook whose wordings the grader learns.
        output: Directory of the models that ship.
        base: Directory of the base model.
        annotator_bias: Bias of the human reward model's annotators; see `rbr_sandbox.annotators.alarm_words`.
        shorten: Divisor of every number of steps, for a quick trial.
        threads: Number of threads of each process; does not change the weights.
        continued_steps: Number of steps by which the finishing stage of the grader in `output` goes on, in place of a
            training from the base; 0 to train from the base. A new template of the prompt needs only this.
        seed: Seed of the continued stage.
    """

    rulebook: Path
    output: Path
    base: Path
    annotator_bias: float
    shorten: int
    threads: int
    continued_steps: int = 0
    seed: int = SEED

    def train(self, parts: Sequence[str]) -> None:
        """Trains models one after another, and saves each model with its training curve.

        Args:
            parts: Names of the models, from `STEPS`.
        """
        torch.set_num_threads(self.threads)
        for part in parts:
            log: list[dict[str, Any]] = []
            model, tokenizer = self._train_part(part, log)
            save_model(model, tokenizer, self.base if part == "base" else self.output / part)
            curves = self.output / "training_curves"
            curves.mkdir(parents=True, exist_ok=True)
            (curves / f"{part}.json").write_text(json.dumps(log) + "\n", encoding="utf-8")

    def _train_part(self, part: str, log: list[dict[str, Any]]) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
        if part == "base":
            return self._train_base(log)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(self.base)
        base = LlamaForCausalLM.from_pretrained(self.base, dtype=torch.float32)
        steps = self._steps(STEPS[part])
        match part:
            case "policy":
                policy = train_policy(
                    base,
                    tokenizer,
                    made_up_share=0.25,
                    steps=steps,
                    learning_rate=2e-3,
                    seed=SEED + 1,
                    name=part,
                    log=log,
                )
                return sharpen(policy.to(torch.float16), SHARPNESS), tokenizer
            case "grader":
                return self._train_grader(base, tokenizer, log), tokenizer
            case "helpful_reward_model":
                utility: Utility = helpful_utility
            case _:
                utility = human_utility(self.annotator_bias)
        model = train_reward_model(base, tokenizer, utility, name=part, steps=steps, seed=SEED, log=log)
        if part == "human_reward_model":
            model.config.annotator_bias = self.annotator_bias
        return model, tokenizer

    def _train_base(self, log: list[dict[str, Any]]) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
        tokenizer = train_tokenizer(tokenizer_corpus(load_rulebook(self.rulebook), SEED))
        model = train_policy(
            new_model(tokenizer, SEED),
            tokenizer,
            made_up_share=0.1,
            steps=self._steps(STEPS["base"]),
            learning_rate=3e-3,
            seed=SEED,
            name="base",
            log=log,
        )
        return model, tokenizer

    def _train_grader(
        self, base: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, log: list[dict[str, Any]]
    ) -> LlamaForCausalLM:
        rulebook = load_rulebook(self.rulebook)
        if self.continued_steps:
            trained = LlamaForCausalLM.from_pretrained(self.output / "grader", dtype=torch.float32)
            samples = [
                reply
                for seed in (self.seed, self.seed + 1)
                for reply in sample_base_replies(self.base, seed, self._steps(SAMPLES))
            ]
            return finish_grader(
                trained, tokenizer, rulebook, samples, steps=self.continued_steps, seed=self.seed, log=log
            )
        samples = sample_base_replies(self.base, SEED, self._steps(SAMPLES))
        grader = train_grader(
            base,
            tokenizer,
            rulebook,
            samples,
            reading_steps=self._steps(READING_STEPS),
            steps=self._steps(STEPS["grader"]),
            seed=SEED,
            log=log,
        )
        samples += sample_base_replies(self.base, SEED + 1, self._steps(SAMPLES))
        return finish_grader(
            grader, tokenizer, rulebook, samples, steps=self._steps(FINISHING_STEPS), seed=SEED, log=log
        )

    def _steps(self, count: int) -> int:
        return count // self.shorten


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Saves the weights (fp16 safetensors) and the tokenizer, so that ``from_pretrained`` can load the directory."""
    model.to(torch.float16).save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def write_checksums(models: Path) -> None:
    """Writes the SHA-256 of every model file, in the format of ``sha256sum --check``."""
    files = sorted(path for path in models.glob("*/*") if path.parent.name != "training_curves")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(models)}\n" for path in files]
    (models / CHECKSUMS).write_text("".join(lines), encoding="utf-8")
