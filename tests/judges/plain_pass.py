"""The reference for every judge: one forward pass of the whole prompt, without a cache, a batch or a backend."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rbr.conversation import Conversation
from rbr.grading.prompt import JudgePrompt, Question

YES = ("yes", " yes", "Yes", " Yes")
NO = ("no", " no", "No", " No")


class PlainPass:
    """A model directory, read by transformers alone.

    Args:
        directory: Model with tokenizer and chat template.
        template: Text of the prompt template.
    """

    def __init__(self, directory: str | Path, template: str) -> None:
        self.directory = str(directory)
        self.template = template
        self.tokenizer: Any = AutoTokenizer.from_pretrained(directory)
        self._model: Any = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
        self.yes_ids = self._single_tokens(YES)
        self.no_ids = self._single_tokens(NO)
        self._prompt = JudgePrompt(template)
        self._known: dict[str, torch.Tensor] = {}

    def message(self, conversation: Conversation, question: Question) -> str:
        """The user message, which a chat server puts into its own chat template."""
        return self._prompt.render(conversation, question, few_shot=0)

    def tokens(self, message: str) -> list[int]:
        """The tokens of a message in the chat template; control tokens that the message spells out stay text."""
        before, after = self._template_parts()
        encoded = [self.tokenizer.encode(part, add_special_tokens=False) for part in (before, after)]
        content = self.tokenizer.encode(message, add_special_tokens=False, split_special_tokens=True)
        return [*encoded[0], *content, *encoded[1]]

    def probabilities(self, message: str) -> torch.Tensor:
        """Probabilities of the first token of the answer to a message, float32[V]; computed once."""
        if message not in self._known:
            self._known[message] = self._forward(message)
        return self._known[message]

    def _forward(self, message: str) -> torch.Tensor:
        with torch.inference_mode():
            logits = self._model(torch.tensor([self.tokens(message)])).logits[0, -1]
        return torch.softmax(logits.double(), dim=-1).float()

    def p_yes(self, message: str) -> float:
        """P(yes) / (P(yes) + P(no)) of the first token of the answer to a message."""
        probabilities = self.probabilities(message).double()
        yes, no = float(probabilities[self.yes_ids].sum()), float(probabilities[self.no_ids].sum())
        return yes / (yes + no)

    def _template_parts(self) -> tuple[str, str]:
        turn = [{"role": "user", "content": "[[message]]"}]
        before, after = self.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True).split(
            "[[message]]"
        )
        return before, after

    def _single_tokens(self, spellings: tuple[str, ...]) -> list[int]:
        encoded = [self.tokenizer.encode(spelling, add_special_tokens=False) for spelling in spellings]
        return sorted({tokens[0] for tokens in encoded if len(tokens) == 1})
