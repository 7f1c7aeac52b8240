"""Trains the parts of the sandbox: a base that does not ship, and the four models that start from its weights."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from rbr.conversation import with_instruction
from rbr.grading.prompt import render_prefix
from rbr.rulebook import Rulebook, load_rulebook
from rbr_sandbox.questions import compose, compose_negated
from rbr_sandbox.train.data import sample_replies
from rbr_sandbox.train.grader import finish_grader, train_grader
from rbr_sandbox.train.policy import example, new_model, sharpened, train_policy
from rbr_sandbox.train.reward_models import helpful_utility, human_utility, train_reward_model
from rbr_sandbox.train.tokenizer import train_tokenizer
from rbr_sandbox.wordings import CATEGORY_QUESTIONS, PHRASES
from rbr_sandbox.world import training_prompt

SEED = 20241101
STEPS = {"base": 1500, "policy": 4000, "grader": 4800, "helpful_reward_model": 2500, "human_reward_model": 2500}
READING_STEPS, FINISHING_STEPS = 2500, 900  # of the grader, before it is asked and after
SAMPLES = 15_000  # replies of the base that the grader learns from, and as many more in its last stage
SHARPNESS = 1.3
CHECKSUMS = "SHA256SUMS"


@dataclass(frozen=True)
class TrainingRun:
    """Where the parts are trained, and from what.

    Attributes:
        rulebook: Directory of the rulebook whose wordings the grader learns.
        output: Directory of the models.
        base: Directory of the unshipped base.
        annotator_bias: See `rbr_sandbox.train.reward_models.alarm_words`.
        shorten: Divides every number of steps, to try the script out.
        threads: Of each process; they change no weight.
    """

    rulebook: Path
    output: Path
    base: Path
    annotator_bias: float
    shorten: int
    threads: int

    def train(self, parts: Sequence[str]) -> None:
        """Trains parts one after another and saves each with its curve."""
        torch.set_num_threads(self.threads)
        for part in parts:
            log: list[dict[str, Any]] = []
            model, tokenizer = self._train(part, STEPS[part] // self.shorten, log)
            save(model, tokenizer, self.base if part == "base" else self.output / part)
            curves = self.output / "training_curves"
            curves.mkdir(parents=True, exist_ok=True)
            (curves / f"{part}.json").write_text(json.dumps(log) + "\n", encoding="utf-8")

    def _train(
        self, part: str, steps: int, log: list[dict[str, Any]]
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
        rulebook = load_rulebook(self.rulebook)
        if part == "base":
            tokenizer = train_tokenizer(tokenizer_corpus(rulebook))
            model = new_model(tokenizer, SEED)
            return train_policy(
                model, tokenizer, made_up=0.1, steps=steps, learning_rate=3e-3, seed=SEED, name=part, log=log
            ), tokenizer
        tokenizer = PreTrainedTokenizerFast.from_pretrained(self.base)
        base = LlamaForCausalLM.from_pretrained(self.base, dtype=torch.float32)
        match part:
            case "policy":
                policy = train_policy(
                    base, tokenizer, made_up=0.25, steps=steps, learning_rate=2e-3, seed=SEED + 1, name=part, log=log
                )
                trained: PreTrainedModel = sharpened(policy.to(torch.float16), SHARPNESS)
            case "grader":
                samples = sample_replies(self.base, SEED, SAMPLES // self.shorten)
                grader = train_grader(
                    base,
                    tokenizer,
                    rulebook,
                    samples,
                    reading_steps=READING_STEPS // self.shorten,
                    steps=steps,
                    seed=SEED,
                    log=log,
                )
                samples += sample_replies(self.base, SEED + 1, SAMPLES // self.shorten)
                finishing = FINISHING_STEPS // self.shorten
                trained = finish_grader(grader, tokenizer, rulebook, samples, steps=finishing, seed=SEED, log=log)
            case _:
                utility = helpful_utility if part == "helpful_reward_model" else human_utility(self.annotator_bias)
                trained = train_reward_model(base, tokenizer, utility, name=part, steps=steps, seed=SEED, log=log)
                if part == "human_reward_model":
                    trained.config.annotator_bias = self.annotator_bias
        return trained, tokenizer


def tokenizer_corpus(rulebook: Rulebook) -> list[str]:
    """Texts of every kind that the models read or write."""
    rng = Random(SEED)
    pairs = [example(rng, training_prompt(rng)) for _ in range(6000)]
    texts = [messages[-1]["content"] for messages, _ in pairs] + [reply for _, reply in pairs]
    texts += [render_prefix([*m, {"role": "assistant", "content": "yes no"}]) for m, _ in pairs[:500]]
    texts += [with_instruction(m, "yes")[-1]["content"] for m, _ in pairs[:100]]
    shipped = [p.question for p in rulebook.propositions.values()]
    shipped += [c.question for c in rulebook.content_policy.categories.values()]
    shipped += [text for texts_ in CATEGORY_QUESTIONS.values() for text in texts_]
    composed = [compose(rng, name) for name in PHRASES for _ in range(150)]
    composed += [compose_negated(rng, name) for name in PHRASES for _ in range(30)]
    return texts + shipped * 60 + composed + ["yes", "no"] * 1000


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Writes weights (fp16 safetensors) and tokenizer; the directory then loads through ``from_pretrained``."""
    model.to(torch.float16).save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def write_checksums(models: Path) -> None:
    """Writes the SHA-256 of every model file, in the format of ``sha256sum --check``."""
    files = sorted(path for path in models.glob("*/*") if path.parent.name != "training_curves")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(models)}\n" for path in files]
    (models / CHECKSUMS).write_text("".join(lines), encoding="utf-8")
