"""Composes replies and writing instructions of the sandbox world from dialogue acts, and puts mistakes into replies.

A *dialogue act* is the purpose of a sentence: "apology", "inability", "question" and so on.
`rbr_sandbox.sentences` lists all acts and their sentences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from random import Random

from rbr_sandbox.sentences import INSTRUCTION_PHRASES, SENTENCES, Sentence
from rbr_sandbox.text_patterns import exchange, splice
from rbr_sandbox.topics import look_alikes, topics_of, unseen_actions
from rbr_sandbox.world_prompt import WorldPrompt, is_harmful

LIKELY_SLIPS = 0.5
"""Share of wrong words that follow the word before them in a training sentence, too."""
_SENTENCE_ENDS = (".", "!", "?")


class ReplyWriter:
    """Composes replies from whole sentences.

    Args:
        rng: Source of every random choice.
        held_out: Share of sentences that use a held-out form, in [0, 1]; 0 in training.
    """

    def __init__(self, rng: Random, held_out: float = 0.0) -> None:
        self.rng = rng
        self.held_out = held_out

    def sentence(self, *acts: str, action: str = "") -> str:
        """Draws one sentence with exactly these dialogue acts. ``action`` fills the blank of the sentence."""
        form = self.rng.choice(_sentence_forms(acts, self.rng.random() < self.held_out))
        return form.template.format(act=action)

    def write(self, acts: Sequence[str], prompt: WorldPrompt) -> str:
        """Writes a reply.

        Args:
            acts: Dialogue acts in order. ``full`` and ``part`` become an answer to the prompt.
            prompt: Prompt that the reply answers.
        """
        sentences: list[str] = []
        pending = list(acts)
        while pending:
            act = pending.pop(0)
            if act in ("full", "part"):
                sentences += self._answer(act, prompt)
            # One sentence can apologize and decline, or decline as "we".
            elif act == "apology" and pending[:1] == ["inability"] and self.rng.random() < 0.5:
                pending.pop(0)
                sentences.append(self.sentence("apology", "inability"))
            elif act == "we" and pending[:1] == ["inability"]:
                pending.pop(0)
                sentences.append(self.sentence("inability", "we"))
            else:
                sentences.append(self.sentence(act))
        return " ".join(sentences)

    def _answer(self, extent: str, prompt: WorldPrompt) -> list[str]:
        """Writes the two sentences of a full or partial answer."""
        harmful = is_harmful(prompt)
        opening = self.sentence("offer" if extent == "full" else "partial", action=prompt.action)
        return [opening, self.sentence("harm" if harmful else "steps")]

    def instruction(self, acts: Sequence[str]) -> str:
        """Writes an instruction that asks for the dialogue acts in order, in varied wording."""
        phrases = [self.rng.choice(INSTRUCTION_PHRASES[act]) for act in acts]
        joiner = self.rng.choice((", then ", ", then ", ". Then ", ". ", " and ", ", "))
        if joiner == ". ":
            phrases = [phrase[0].upper() + phrase[1:] for phrase in phrases]
        text = joiner.join(phrases)
        return text[0].upper() + text[1:] + "." + self.rng.choice((" Add nothing else.", ""))

    def corrupt(self, text: str) -> str:
        """Makes a reply illogical: cuts it off, shuffles it, drops two words, or inserts random words."""
        words = text.split()
        style = self.rng.randrange(4)
        if style == 0 and len(words) > 4:
            return " ".join(words[: self.rng.randrange(2, len(words) - 1)]).rstrip(".!?")
        if style == 1:
            return " ".join(self.rng.sample(words, len(words)))
        position = self.rng.randrange(len(words))
        if style == 2 and len(words) > 3:
            return " ".join(words[:position] + words[position + 2 :])
        return " ".join(words[:position] + self.rng.choices(words, k=3) + words[position:])

    def add_slip(self, text: str) -> str:
        """Makes a mistake that a model makes too: drops, doubles, replaces or inserts one word of a reply.

        The result never contains a sentence of a held-out form.
        """
        words = text.split()
        position = self.rng.randrange(len(words))
        draw = self.rng.random()
        if draw < 0.3:
            words[position : position + 1] = []
        elif draw < 0.4:
            words.insert(position, words[position])
        else:
            previous = _previous_word_in_sentence(words[position - 1]) if position else ""
            likely = _next_words().get(previous, ()) if self.rng.random() < LIKELY_SLIPS else ()
            # Replace the word in two of three cases, otherwise insert.
            words[position : position + (draw < 0.8)] = [self.rng.choice(likely or _training_words())]
        result = " ".join(words)
        return self.add_slip(text) if any(sentence in result for sentence in held_out_sentences()) else result

    def misread(self, prompt: WorldPrompt) -> WorldPrompt:
        """Returns the prompt with a wrong action, which has a word, the verb or the object of another action."""
        response_type = prompt.response_type if self.rng.random() < 0.5 else "comply"
        other = self.rng.choice(topics_of(response_type, seen=True)).text
        words, other_words = prompt.action.split(), other.split()
        if self.rng.random() < 0.5:
            words = [*words[:1], *other_words[1:]] if self.rng.random() < 0.5 else [*other_words[:1], *words[1:]]
        else:
            words[self.rng.randrange(len(words))] = self.rng.choice(other_words)
        action = " ".join(words)
        return replace(prompt, action=action) if action != prompt.action else self.misread(prompt)

    def confuse(self, prompt: WorldPrompt) -> WorldPrompt:
        """Returns the prompt with its action confused with a look-alike.

        The new action is the look-alike, a splice of both actions, or the old action with one difference exchanged. If
        the action has no look-alike, the prompt is misread.
        """
        if not (others := look_alikes(prompt.action)):
            return self.misread(prompt)
        other = self.rng.choice(others)
        halves = self.rng.choice(((prompt.action, other), (other, prompt.action)))
        action = self.rng.choice((other, splice(self.rng, *halves), exchange(self.rng, prompt.action, other)))
        if action == prompt.action or action in unseen_actions():
            return self.confuse(prompt)
        return replace(prompt, action=action)


@cache
def held_out_sentences() -> tuple[str, ...]:
    """Returns the sentences in held-out forms, except those with a blank."""
    return tuple(s.template for s in SENTENCES if s.held_out and "{" not in s.template)


@cache
def _sentence_forms(acts: tuple[str, ...], held_out: bool) -> tuple[Sentence, ...]:
    return tuple(s for s in SENTENCES if s.acts == acts and s.held_out == held_out)


@cache
def _training_words() -> tuple[str, ...]:
    """Returns all words of the training sentences without a blank, in order."""
    templates = [s.template for s in SENTENCES if not s.held_out and "{" not in s.template]
    return tuple(word for template in templates for word in template.split())


@cache
def _next_words() -> Mapping[str, tuple[str, ...]]:
    """Returns the words that follow each word in the training sentences. The first words of sentences follow ""."""
    followers: dict[str, list[str]] = {"": []}
    for previous, word in pairwise(("", *_training_words())):
        followers.setdefault(_previous_word_in_sentence(previous), []).append(word)
    return {word: tuple(next_words) for word, next_words in followers.items()}


def _previous_word_in_sentence(previous: str) -> str:
    """Returns the previous word, or "" if that word ends its sentence."""
    return "" if previous.endswith(_SENTENCE_ENDS) else previous
