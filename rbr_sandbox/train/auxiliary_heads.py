"""Linear heads on the grader's lower layers. They teach these layers what a question may ask later.

The heads exist only during training; the shipped grader has none.
"""

from collections.abc import Sequence

import torch

from rbr_sandbox.train.grader_rows import SENTENCE_TRUTH_NAMES
from rbr_sandbox.train.question_sampler import OPERATORS, SUBJECTS, TRUTH_NAMES
from rbr_sandbox.train.row_packing import PackedRows

# Layers whose output the heads read: the first for words and questions, the second for replies and sentences.
WORD_LAYER, TRUTH_LAYER = 5, 6
# Classes of a question: two subjects and an operator.
_QUESTION_CLASSES = (len(SUBJECTS), len(SUBJECTS), len(OPERATORS))


class AuxiliaryHeads(torch.nn.Module):
    """Heads that predict the truths about a reply, its sentences, the words of its answer, and the questions.

    Args:
        width: Width of the grader's hidden states.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reply, self.sentence, self.word = (
            torch.nn.Sequential(torch.nn.RMSNorm(width), torch.nn.Linear(width, outputs))
            for outputs in (len(TRUTH_NAMES), len(SENTENCE_TRUTH_NAMES), 1)
        )
        self.question = torch.nn.Sequential(torch.nn.RMSNorm(width), torch.nn.Linear(width, sum(_QUESTION_CLASSES)))

    def reading_loss(self, packed: PackedRows, states: Sequence[torch.Tensor]) -> torch.Tensor:
        """Returns the cross entropy of the truths about conversations, sentences and words.

        Args:
            packed: Rows with the positions and the targets of the heads.
            states: Hidden states before the first layer and after each layer, each of shape (tokens, width).
        """
        hidden = states[TRUTH_LAYER]
        # Conversations: (rows, truth names).
        total = _known_cross_entropy(self.reply(hidden[packed.prefix_end_positions]), packed.truths)
        if len(packed.sentence_end_positions):
            # Sentences: (sentences, sentence truth names).
            logits = self.sentence(hidden[packed.sentence_end_positions])
            total = total + _known_cross_entropy(logits, packed.sentence_truths)
            # The last two truths ("offers another action", "is not a sentence") are the hardest, so they count twice.
            total = total + sum(_known_cross_entropy(logits[:, i], packed.sentence_truths[:, i]) for i in (-2, -1))
        if len(packed.word_end_positions):
            # Words of an answer: (words, 1).
            logits = self.word(states[WORD_LAYER][packed.word_end_positions])
            total = total + _known_cross_entropy(logits[:, 0], packed.word_differs)
        return total

    def question_loss(self, packed: PackedRows, states: Sequence[torch.Tensor]) -> torch.Tensor:
        """Returns the cross entropy of the subjects and the operator of each question, at its last token."""
        # Three arrays of logits, each of shape (questions, classes).
        parts = self.question(states[WORD_LAYER][packed.answer_positions]).split(_QUESTION_CLASSES, dim=1)
        losses = [
            torch.nn.functional.cross_entropy(logits, packed.question_targets[:, i]) for i, logits in enumerate(parts)
        ]
        return torch.stack(losses).sum()


def _known_cross_entropy(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Returns the mean cross entropy over the truths that are not NaN."""
    known = ~torch.isnan(truth)
    if not known.any():
        return logits.new_zeros(())
    return torch.nn.functional.binary_cross_entropy_with_logits(logits[known], truth[known])
