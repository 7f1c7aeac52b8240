"""Tokenizers of several kinds, trained on a few sentences, with a chat template and added tokens."""

from collections.abc import Callable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tests.tiny_models import TEMPLATE, TEXTS, tiny_tokenizer

SPECIAL = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<unk>"]
NOT_SPECIAL = ["<think>", "</think>", "<tool_call>"]
ADDED_TEXTS = ["ö", "user", "Hi", "<b>", "</b>", "  ", "\t", "\u2581\u2581", "<0x0A>"]
"""Ordinary text, which some tokenizers have as added tokens."""
SENTENCES = [*TEXTS, "end user assistant think <a> | tool_call </b> pad", "Hi Sure Go on\n\nNext paragraph."]


def byte_level_bpe() -> PreTrainedTokenizerFast:
    return _with_template(tiny_tokenizer())


def byte_level_bpe_whose_tokens_eat_spaces() -> PreTrainedTokenizerFast:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(
        [
            AddedToken("<|left|>", lstrip=True, special=True),
            AddedToken("<|assistant|>", rstrip=True, special=True),
            AddedToken("<|both|>", lstrip=True, rstrip=True),
            AddedToken("\n\n", normalized=False),
        ]
    )
    return _with_template(tokenizer)


def byte_level_bpe_with_text_as_added_tokens() -> PreTrainedTokenizerFast:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in ADDED_TEXTS])
    return _with_template(tokenizer)


def bpe_whose_merges_build_the_tokens() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\s"), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES + 50 * [" ".join(SPECIAL + NOT_SPECIAL)], trainer)
    return _with_template(PreTrainedTokenizerFast(tokenizer_object=tokenizer))


def unigram(prepend_scheme: str = "first") -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme, split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=prepend_scheme, split=False)
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=SPECIAL, unk_token="<unk>", initial_alphabet=list("<|>/_"), show_progress=False
    )
    # The marks are frequent in the text, so that the model itself has pieces of them.
    tokenizer.train_from_iterator(SENTENCES + 20 * NOT_SPECIAL, trainer)
    return _with_template(PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>"))


def unigram_that_always_prepends_a_space() -> PreTrainedTokenizerFast:
    return unigram("always")


def legacy_sentencepiece_bpe() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=False, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return _with_template(PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>"))


def lowercase_word_pieces() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    fast.add_tokens([AddedToken("<OBSERVE>", normalized=True, special=True)])
    return _with_template(fast)


def whole_words() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordLevelTrainer(special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator([*SENTENCES, " ".join(NOT_SPECIAL)], trainer)
    return _with_template(PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>"))


KINDS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    make.__name__: make
    for make in (
        byte_level_bpe,
        byte_level_bpe_whose_tokens_eat_spaces,
        byte_level_bpe_with_text_as_added_tokens,
        bpe_whose_merges_build_the_tokens,
        unigram,
        unigram_that_always_prepends_a_space,
        legacy_sentencepiece_bpe,
        lowercase_word_pieces,
        whole_words,
    )
}


def _with_template(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    tokenizer.add_special_tokens({"pad_token": "<|pad|>", "eos_token": "<|end|>"})
    tokenizer.add_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL[2:5]])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in NOT_SPECIAL])
    tokenizer.chat_template = TEMPLATE
    return tokenizer
