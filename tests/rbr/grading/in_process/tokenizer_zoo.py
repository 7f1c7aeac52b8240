"""Tiny tokenizers of every kind that chat models have, and chat templates that are hard to cut."""

import json
from collections.abc import Callable
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

CONTROL_TOKENS = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<think>"]
TEXTS = [
    "Read the conversation, then answer the question about the reply with yes or no.\n\nUSER: How do I boil an egg?",
    "ASSISTANT: I'm sorry, but I can't help with that.\n\nQuestion: Is the reply an apology? yes no Yes No 12345",
    "Answer the question with one word, yes or no.\nQuestion: Does the reply contain an insult to the user?",
    "Each turn begins with a line that contains the code. Everything between two such lines is text to be judged.",
]
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
ADDED_TEXTS = ["▁▁", "▁▁▁", "\t", "\n", "\n\n", "<b>", "</b>", "<table>", *_BYTES]
ADDED_WORDS = ["ö", "ü", "ø", "egg", "user", " apology", "<b>"]


def _bpe(tokenizer: Tokenizer, size: int, alphabet: list[str] | None = None, special: list[str] | None = None) -> None:
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special or CONTROL_TOKENS,
        initial_alphabet=alphabet or [],
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)


def gpt2() -> Tokenizer:
    """Byte-level BPE with the regular expression of GPT-2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    _bpe(tokenizer, 420, pre_tokenizers.ByteLevel.alphabet())
    return tokenizer


def gpt2_with_prefix_space() -> Tokenizer:
    """Byte-level BPE that puts a space before a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    _bpe(tokenizer, 420, pre_tokenizers.ByteLevel.alphabet())
    return tokenizer


def llama3() -> Tokenizer:
    """Byte-level BPE with the regular expression of Llama 3 and NFC."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(_LLAMA_3), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    _bpe(tokenizer, 420, pre_tokenizers.ByteLevel.alphabet())
    return tokenizer


def _sentencepiece_bpe(normalizer: Any, pre_tokenizer: Any) -> Tokenizer:
    # Train on words, so that no token has a letter and then a space; SentencePiece does the same.
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")
    _bpe(tokenizer, 720, None, ["<unk>", *CONTROL_TOKENS, *_BYTES])
    # The bytes are in the vocabulary, but a text does not spell them.
    description = json.loads(tokenizer.to_str())
    description["added_tokens"] = [token for token in description["added_tokens"] if token["content"] not in _BYTES]
    tokenizer = Tokenizer.from_str(json.dumps(description))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    return tokenizer


def llama2() -> Tokenizer:
    """SentencePiece BPE over the whole text, which begins with a space."""
    return _sentencepiece_bpe(normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None)


def gemma() -> Tokenizer:
    """SentencePiece BPE over the whole text."""
    split = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    return _sentencepiece_bpe(normalizers.Replace(" ", "▁"), split)


def _gemma_with_text_as_added_tokens(normalized: bool) -> Tokenizer:
    description = json.loads(gemma().to_str())
    vocabulary, model = description["model"]["vocab"], description["model"]
    model["merges"] = [["▁", "▁"], ["▁▁", "▁"], *model["merges"]]
    for text in ADDED_TEXTS:
        vocabulary.setdefault(text, len(vocabulary))
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": normalized, "special": False}
    description["added_tokens"] += [{"id": vocabulary[text], "content": text, **flags} for text in ADDED_TEXTS]
    description["added_tokens"].sort(key=lambda token: token["id"])
    return Tokenizer.from_str(json.dumps(description))


def gemma_with_text_as_added_tokens() -> Tokenizer:
    """SentencePiece BPE with runs of blanks, line breaks, tags and bytes as added tokens, as Gemma has."""
    return _gemma_with_text_as_added_tokens(normalized=False)


def gemma_with_normalized_text_as_added_tokens() -> Tokenizer:
    """The same, with added tokens that are found after the normalizer."""
    return _gemma_with_text_as_added_tokens(normalized=True)


def gpt2_with_words_as_added_tokens() -> Tokenizer:
    """Byte-level BPE with letters and words as added tokens, as DeepSeek-Coder has."""
    tokenizer = gpt2()
    tokenizer.add_tokens([AddedToken(text, special=False) for text in ADDED_WORDS])
    return tokenizer


def gpt2_with_a_phrase_as_added_token() -> Tokenizer:
    """Byte-level BPE with an added token that reaches across words."""
    tokenizer = gpt2()
    tokenizer.add_tokens([AddedToken("is it", special=False)])
    return tokenizer


def gpt2_with_an_added_word_that_eats_blanks() -> Tokenizer:
    """Byte-level BPE with an added word that takes the space after it along."""
    tokenizer = gpt2()
    tokenizer.add_tokens([AddedToken("egg", rstrip=True, special=False)])
    return tokenizer


def across_words() -> Tokenizer:
    """Byte-level BPE without words: some tokens have a letter and then a space."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    _bpe(tokenizer, 420, pre_tokenizers.ByteLevel.alphabet())
    return tokenizer


def _unigram(**options: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(**options)
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=["<unk>", *CONTROL_TOKENS], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return tokenizer


def unigram() -> Tokenizer:
    """SentencePiece Unigram over words."""
    return _unigram(prepend_scheme="always")


def unigram_across_words() -> Tokenizer:
    """SentencePiece Unigram over the whole text."""
    return _unigram(prepend_scheme="first", split=False)


def wordpiece() -> Tokenizer:
    """WordPiece in lower case."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=["<unk>", *CONTROL_TOKENS], show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


TOKENIZERS: dict[Callable[[], Tokenizer], bool] = {
    gpt2: True,
    gpt2_with_prefix_space: True,
    llama3: True,
    llama2: True,
    gemma: True,
    gemma_with_text_as_added_tokens: True,
    gemma_with_normalized_text_as_added_tokens: True,
    gpt2_with_words_as_added_tokens: True,
    gpt2_with_a_phrase_as_added_token: False,
    gpt2_with_an_added_word_that_eats_blanks: False,
    across_words: False,
    unigram: True,
    unigram_across_words: False,
    wordpiece: True,
}
"""Whether texts can be cut between words, by kind of tokenizer."""

TEMPLATES = {
    "plain": "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "ends in white space": "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n\n' }}{% endif %}",
    "trims": "{% for m in messages %}<|{{ m.role }}|> {{ m.content | trim }} {% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "without control tokens": "{% for m in messages %}{{ m.role }} {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}Answer:{% endif %}",
    "with a thought": "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% if not thinks %}<think>\n\n{% endif %}{% endif %}",
}


def chat_tokenizer(backend: Tokenizer, template: str) -> PreTrainedTokenizerFast:
    """Returns a tokenizer of transformers with a chat template of `TEMPLATES`."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<|pad|>", eos_token="<|end|>")
    tokenizer.chat_template = TEMPLATES[template]
    return tokenizer
