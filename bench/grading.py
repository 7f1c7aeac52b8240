"""Compares the grader's shared forward pass with one forward pass for each reply and question.

    OMP_NUM_THREADS=1 python -m bench.grading [--pairs 5]

1. A Llama with random weights (width 256, 4 layers), 23 questions of S tokens about a prefix of 500 tokens. The plain
   way runs the 23 joined sequences, without padding, logits of the last token only. Its batch size is the fastest of
   several.
2. The same with the shipped grader, the questions of the rulebook, and gold replies of the sandbox.
3. The share of `TransformersGrader.grade` that is not the model: rendering, tokenizing, laying out, reading.

The two ways take turns on one thread. A ratio is the median over the pairs of runs, in seconds of this process's CPU
time, so other processes on the machine change it little. The limit is the ratio of the numbers of tokens. The exit
status is 1 if P(yes) differs by more than 1e-5. The last line is JSON.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rbr.conversation import Conversation
from rbr.grading import Question
from rbr.grading.in_process.prompt_tokens import SharedPrompt
from rbr.grading.in_process.shared_prefix import ExactLayouts, exact_layouts, layout_for, unshared
from rbr.grading.transformers import TransformersGrader
from rbr.profile import load_profile
from rbr.rulebook import load_propositions

QUESTIONS, PREFIX = 23, 500
VOCABULARY = 4096
YES, NO = 2, 3
BATCH_SIZES = (1, 2, 4, 8, 23)
PROFILE, PROPOSITIONS = "profiles/sandbox.yaml", "rulebook/propositions.yaml"
GOLD = "rbr_sandbox/data/gold_labels.jsonl"
EVERY_GOLD_ROW = 20
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Comparison:
    """The shared forward pass against the plain one.

    Attributes:
        ratio: How many times as fast it is.
        limit: How many times as many tokens the plain one reads.
        difference: Largest difference of P(yes).
        batch_size: Batch size of the plain one.
    """

    ratio: float
    limit: float
    difference: float
    batch_size: int

    def line(self, name: str) -> str:
        """Returns the comparison in words."""
        return (
            f"{name}: {self.ratio:.2f} times as fast, limit {self.limit:.2f} ({self.ratio / self.limit:.0%}); "
            f"plain batches of {self.batch_size}; largest difference of P(yes) {self.difference:.1e}"
        )


def random_llama() -> Any:
    """Returns the model of the first comparison."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


def random_prompt(question_length: int, seed: int = 0) -> SharedPrompt:
    """Returns questions of random tokens about a prefix of random tokens."""
    generator = torch.Generator().manual_seed(seed)

    def tokens(size: int) -> list[int]:
        return torch.randint(4, VOCABULARY, (size,), generator=generator).tolist()

    return SharedPrompt(tokens(PREFIX), [tokens(question_length) for _ in range(QUESTIONS)])


def cpu_seconds(run: Callable[[], Any]) -> float:
    """Returns the CPU time of a call, in seconds."""
    start = time.process_time()
    run()
    return time.process_time() - start


def compare(
    model: Any, layouts: ExactLayouts, prompts: Sequence[SharedPrompt], yes: list[int], no: list[int], pairs: int
) -> Comparison:
    """Runs both ways in turns, after the plain way chose its batch size."""
    chosen = layout_for(prompts, layouts, model.config)
    tried = {size: cpu_seconds(partial(unshared, model, prompts, size)) for size in BATCH_SIZES}
    batch_size = min(tried, key=lambda size: tried[size])

    def p_yes(logits: torch.Tensor) -> torch.Tensor:
        mass = logits.double().softmax(-1)
        yes_mass, no_mass = mass[:, yes].sum(-1), mass[:, no].sum(-1)
        return yes_mass / (yes_mass + no_mass)

    difference = (p_yes(chosen(model, prompts)) - p_yes(unshared(model, prompts, batch_size))).abs().max()
    ratios = []
    for number in range(pairs):
        ways = {"plain": partial(unshared, model, prompts, batch_size), "shared": partial(chosen, model, prompts)}
        seconds = {way: cpu_seconds(ways[way]) for way in (ways if number % 2 else reversed(ways))}
        ratios.append(seconds["plain"] / seconds["shared"])
    read_plainly = sum(length for prompt in prompts for length in prompt.lengths())
    read_shared = sum(len(prompt.prefix) + sum(map(len, prompt.tails)) for prompt in prompts)
    return Comparison(median(ratios), read_plainly / read_shared, float(difference), batch_size)


def sandbox_grader() -> tuple[TransformersGrader, list[Conversation], list[Question]]:
    """Returns the shipped grader, gold replies and the questions of the rulebook."""
    profile = load_profile(PROFILE)
    grader = TransformersGrader(profile.models.grader, profile.grader)
    with open(GOLD, encoding="utf-8") as file:
        conversations = [json.loads(line)["messages"] for line in list(file)[::EVERY_GOLD_ROW]]
    questions = [Question(name, each.question, each.examples) for name, each in load_propositions(PROPOSITIONS).items()]
    return grader, conversations, questions


def overhead(grader: TransformersGrader, conversations: list[Conversation], questions: list[Question]) -> float:
    """Returns the share of the time of `grade` that passes outside the model's forward pass."""
    model = grader._model
    inside, started = 0.0, 0.0

    def before(*_: Any) -> None:
        nonlocal started
        started = time.process_time()

    def after(*_: Any) -> None:
        nonlocal inside
        inside += time.process_time() - started

    hooks = [model.register_forward_pre_hook(before), model.register_forward_hook(after)]
    total = cpu_seconds(lambda: grader.grade(conversations, questions))
    for hook in hooks:
        hook.remove()
    return 1 - inside / total


def main() -> int:
    """Runs the comparisons and prints them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5, help="number of runs of each way")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    # 1. Random weights.
    model = random_llama()
    layouts = exact_layouts(model, [SharedPrompt([5, 6, 7], [[8, 9], [10]]), SharedPrompt([5], [[6], [7, 8]])])
    results = {}
    for length in (20, 120, 470):
        results[length] = compare(model, layouts, [random_prompt(length)], [YES], [NO], arguments.pairs)
        print(results[length].line(f"{QUESTIONS} questions of {length} tokens, a prefix of {PREFIX}"), flush=True)

    # 2. The shipped grader.
    grader, conversations, questions = sandbox_grader()
    prompts = grader._tokens.encode(conversations, questions)
    sandbox = compare(grader._model, grader._layouts, prompts, grader._yes, grader._no, arguments.pairs)
    print(sandbox.line(f"the sandbox, {len(conversations)} replies, {len(questions)} questions"), flush=True)

    # 3. What is not the model.
    share = median(overhead(grader, conversations, questions) for _ in range(arguments.pairs))
    print(f"outside the model: {share:.1%} of the time of grade")

    figures = {
        "ratio_s20": results[20].ratio,
        "limit_s20": results[20].limit,
        "ratio_s120": results[120].ratio,
        "limit_s120": results[120].limit,
        "ratio_s470": results[470].ratio,
        "sandbox_ratio": sandbox.ratio,
        "sandbox_limit": sandbox.limit,
        "overhead": share,
    }
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))
    return int(max(each.difference for each in (*results.values(), sandbox)) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
