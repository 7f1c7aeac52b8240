"""Opens models and tokenizers: safetensors only, no remote code, fp32 on a CPU, pinned revisions."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from rbr.errors import InputError
from rbr.models.template_date import check_template_date

if TYPE_CHECKING:
    from rbr.profile import ModelRef


def open_model(auto_class: Any, ref: "ModelRef", **options: Any) -> PreTrainedModel:
    """Loads a model for inference, on the first CUDA device if there is one, else on the CPU.

    Args:
        auto_class: An ``AutoModelFor...`` class of transformers.
        ref: A local directory, or a Hub id with a revision.
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
    # On a CPU, fp32 is faster and reproducible. On a GPU, the type in which the weights are stored saves memory.
    dtype = torch.float32 if device.type == "cpu" else "auto"
    try:
        model, loading = auto_class.from_pretrained(
            ref.path,
            revision=_revision(ref),
            use_safetensors=True,
            trust_remote_code=False,
            dtype=dtype,
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError) as error:
        raise _cannot_be_opened(ref, error) from error
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
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(ref.path, revision=_revision(ref), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _cannot_be_opened(ref, error) from error
    if not tokenizer.chat_template:
        raise InputError("the tokenizer has no chat template", where=ref.path, hint="Use an instruction-tuned model.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = _padding(tokenizer, ref)
    check_template_date(tokenizer, ref)
    return tokenizer


def context_limit(ref: "ModelRef") -> int:
    """Returns the largest number of tokens in a sequence from a model's configuration, without opening the model.

    Raises:
        InputError: The configuration cannot be found or read.

    Example:
        >>> from rbr.profile import ModelRef
        >>> context_limit(ModelRef(path="rbr_sandbox/models/policy", revision=None))
        512
    """
    _check_directory(ref)
    try:
        config = AutoConfig.from_pretrained(ref.path, revision=_revision(ref), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _cannot_be_opened(ref, error) from error
    return _context_of(config)


def context_length(model: PreTrainedModel) -> int:
    """Returns the largest number of tokens that a model accepts in a sequence; 2**31 if its configuration has no limit.

    Example:
        >>> from transformers import AutoModelForCausalLM
        >>> from rbr.profile import ModelRef
        >>> model = open_model(AutoModelForCausalLM, ModelRef(path="rbr_sandbox/models/policy", revision=None))
        >>> context_length(model)
        512
    """
    return _context_of(model.config)


def _context_of(config: Any) -> int:
    return int(getattr(config.get_text_config(), "max_position_embeddings", None) or 2**31)


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
    reason = str(error).strip().split("\n")[0]
    return InputError(
        f"the model cannot be opened: {reason}",
        where=ref.path,
        hint="Use a directory with config, tokenizer and *.safetensors, or a Hub id with its revision.",
    )
