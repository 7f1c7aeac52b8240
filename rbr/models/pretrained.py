"""Opens models and tokenizers: safetensors only, no remote code, pinned revisions."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from rbr.errors import InputError
from rbr.models.template_date import check_template_date

if TYPE_CHECKING:
    from rbr.profile import ModelRef


_NO_LIMIT = 2**31
_CONTEXT_SETTINGS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length")


def open_model(auto_class: Any, ref: "ModelRef", **options: Any) -> PreTrainedModel:
    """Loads a model for inference, on the first CUDA device if there is one, else on the CPU.

    Args:
        auto_class: An ``AutoModelFor...`` class of transformers.
        ref: A local directory, or a Hub id with a revision. Weights and activations have its `dtype` on every device.
        **options: More keyword arguments of ``from_pretrained``.

    Returns:
        The model in evaluation mode.

    Raises:
        InputError: The model cannot be found or read, or its files lack weights that `auto_class` needs.

    Example:
        >>> from transformers import AutoModelForCausalLM
        >>> from rbr.profile import ModelRef
        >>> model = open_model(AutoModelForCausalLM, ModelRef(path="rbr_sandbox/models/policy", revision=None))
        >>> model.training
        False
    """
    _check_directory(ref)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with opening(ref):
        model, loading = auto_class.from_pretrained(
            ref.path,
            revision=_revision(ref),
            use_safetensors=True,
            trust_remote_code=False,
            dtype=ref.dtype,
            output_loading_info=True,
            **options,
        )
    if missing := sorted(loading["missing_keys"]):
        # transformers fills missing weights with random numbers: a chat model opened as a reward model scores noise.
        raise InputError(
            f"the files lack the weights {', '.join(missing[:3])}",
            where=ref.path,
            hint="Use a model that was trained for this role. A chat model, for example, is not a reward model.",
        )
    return model.to(device).eval()


def open_tokenizer(ref: "ModelRef") -> PreTrainedTokenizerBase:
    """Loads the tokenizer of a chat model.

    A tokenizer without a padding token pads with its end token, or else with its first special token. Models do not see
    the padding.

    Args:
        ref: A local directory, or a Hub id with a revision.

    Raises:
        InputError: The tokenizer cannot be found or read, has no chat template or no special token, or its template
            prints the date.

    Example:
        >>> from rbr.profile import ModelRef
        >>> tokenizer = open_tokenizer(ModelRef(path="rbr_sandbox/models/policy", revision=None))
        >>> tokenizer.eos_token
        '<|end|>'
    """
    _check_directory(ref)
    with opening(ref):
        tokenizer: Any = AutoTokenizer.from_pretrained(ref.path, revision=_revision(ref), trust_remote_code=False)
    if not tokenizer.chat_template:
        raise InputError("the tokenizer has no chat template", where=ref.path, hint="Use an instruction-tuned model.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = _padding(tokenizer, ref)
    check_template_date(tokenizer, ref)
    return tokenizer


@contextmanager
def opening(ref: "ModelRef") -> Iterator[None]:
    """Reports any exception while a model is opened as an error of its files. Files can raise every kind of exception.

    Args:
        ref: The model.

    Raises:
        InputError: The code in the context raises an exception.

    Example:
        >>> from rbr.profile import ModelRef
        >>> with opening(ModelRef(path="models/policy", revision=None)):
        ...     raise KeyError("added_tokens")
        Traceback (most recent call last):
        rbr.errors.InputError: models/policy: the model cannot be opened: KeyError: 'added_tokens'
        ...
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise _cannot_be_opened(ref, error) from error


def context_limit(ref: "ModelRef", tokenizer: PreTrainedTokenizerBase) -> int:
    """Returns `context_length` of a model without opening its weights.

    Args:
        ref: A local directory, or a Hub id with a revision.
        tokenizer: The model's tokenizer.

    Raises:
        InputError: The configuration cannot be found or read.

    Example:
        >>> from rbr.profile import ModelRef
        >>> ref = ModelRef(path="rbr_sandbox/models/policy", revision=None)
        >>> context_limit(ref, open_tokenizer(ref))
        512
    """
    _check_directory(ref)
    with opening(ref):
        config = AutoConfig.from_pretrained(ref.path, revision=_revision(ref), trust_remote_code=False)
    return _context_of(config, tokenizer)


def context_length(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Returns the largest number of tokens that a model accepts in a sequence.

    This is the smaller of two limits: the one of the configuration, such as ``max_position_embeddings``, and
    ``model_max_length`` of the tokenizer.

    Args:
        model: A model.
        tokenizer: The model's tokenizer.

    Returns:
        The number of tokens; 2**31 if neither file has a limit.

    Example:
        >>> from transformers import AutoModelForCausalLM
        >>> from rbr.profile import ModelRef
        >>> ref = ModelRef(path="rbr_sandbox/models/policy", revision=None)
        >>> context_length(open_model(AutoModelForCausalLM, ref), open_tokenizer(ref))
        512
    """
    return _context_of(model.config, tokenizer)


def _context_of(config: Any, tokenizer: Any) -> int:
    sizes = (getattr(config.get_text_config(), name, None) for name in _CONTEXT_SETTINGS)
    # A setting that means "no limit" is None, -1 or a huge number. The first setting counts.
    configured = next((size for size in sizes if size is not None and 0 < size < _NO_LIMIT), _NO_LIMIT)
    longest = tokenizer.model_max_length
    return int(min(configured, longest) if longest and longest > 0 else configured)


def _check_directory(ref: "ModelRef") -> None:
    if ref.revision is None and not Path(ref.path).is_dir():
        raise InputError(
            "the directory does not exist",
            where=ref.path,
            hint="Correct the model's path in the profile. If the path is a Hub id, add a revision.",
        )


def _padding(tokenizer: Any, ref: "ModelRef") -> str:
    # An ordinary token will not do: decoding leaves out the padding token, and so would lose it in replies.
    special = [entry.content for _, entry in sorted(tokenizer.added_tokens_decoder.items()) if entry.special]
    if tokenizer.eos_token is None and not special:
        raise InputError(
            "the tokenizer has no special token, so no token can fill up short rows of a batch",
            where=ref.path,
            hint="Set `pad_token` in its tokenizer_config.json.",
        )
    return tokenizer.eos_token or special[0]


def _revision(ref: "ModelRef") -> str:
    return ref.revision or "main"


def _cannot_be_opened(ref: "ModelRef", error: Exception) -> InputError:
    first_line = str(error).strip().split("\n")[0]
    reason = "".join(character if character.isprintable() else " " for character in first_line)
    # An exception such as KeyError says too little without its name.
    if not isinstance(error, (OSError, ValueError, ImportError)):
        reason = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    if isinstance(error, ImportError):
        hint = "Install the package, or use a copy of the model that does not need it."
    else:
        hint = "Use a directory with config, tokenizer and *.safetensors, or a Hub id with its revision."
    return InputError(f"the model cannot be opened: {reason}", where=ref.path, hint=hint)
