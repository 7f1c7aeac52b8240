"""The identity of a grader: a hash of everything that changes its answers, and of nothing else.

Stored grades, the fitted reward, trainings and evaluations carry the same identity, so none of them mixes two graders.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rbr.hashing import content_hash
from rbr.models.fingerprint import check_pinned, model_fingerprint

if TYPE_CHECKING:
    from rbr.profile import GraderSettings, ModelRef

_NAMES_OF_WEIGHTS = ("digest", "revision", "canonical_slug", "hugging_face_id", "model_path")


def grader_identity(
    settings: "GraderSettings", fingerprint: str | None = None, served: Mapping[str, Any] | None = None
) -> str:
    """Returns the identity of a grader.

    Few-shot examples are part of a question's hash instead. No answer depends on the batch size, the number of
    connections or the patience, so they are not part of the identity.

    Args:
        settings: Section `grader` of a profile.
        fingerprint: What the answers take from the files of a local model, from `grader_fingerprint`; None without one.
        served: What the server says about its model, from `rbr.grading.server.served_models`; only for the backend
            ``openai``.

    Returns:
        16 hexadecimal characters.

    Example:
        >>> from rbr.profile import load_profile
        >>> settings = load_profile("profiles/gpu.yaml").grader
        >>> first = grader_identity(settings, served={"id": "grader", "root": "/models/judge-a"})
        >>> first == grader_identity(settings, served={"id": "grader", "root": "/models/judge-b"})
        False
        >>> moved = settings.model_copy(update={"base_url": "http://127.0.0.1:9/v1"})
        >>> first == grader_identity(moved, served={"id": "grader", "root": "/models/judge-a"})
        True
    """
    reading: dict[str, Any] = {
        "backend": settings.backend,
        "prompt_template": settings.prompt_template,
        "yes": sorted(set(settings.yes)),
        "no": sorted(set(settings.no)),
        "min_mass": settings.min_mass,
    }
    if settings.backend != "transformers":  # This backend sees all tokens, so the bound of its answers is always 0.
        reading["max_bound"] = settings.max_bound
    match settings.backend:
        case "openai":
            judge: dict[str, Any] = {
                "model_name": settings.model_name,
                "model_epoch": settings.model_epoch,
                "served": dict(served or {}),
                "endpoint": settings.endpoint,
                "top_logprobs": settings.top_logprobs,
                "extra_body": settings.extra_body,
            }
            if settings.endpoint == "chat":
                judge["chat_template_kwargs"] = settings.chat_template_kwargs
            if fingerprint:
                judge["tokenizer"] = fingerprint
            if not names_the_weights(served):
                # If nothing names the weights, only the address tells two servers with the same model name apart.
                judge["base_url"] = (settings.base_url or "").strip().rstrip("/")
        case "vllm":
            judge = {
                "model": fingerprint,
                "dtype": settings.vllm.dtype,
                "max_model_len": settings.vllm.max_model_len,
                "top_logprobs": settings.top_logprobs,
            }
        case _:
            judge = {"model": fingerprint}
    return content_hash(["grader", reading, judge])


def grader_fingerprint(ref: "ModelRef", settings: "GraderSettings") -> str:
    """Returns the hash of what the answers of a grader take from the files of a local model.

    A server that is asked in chats has its own model, and tokenizes for itself. Then only the added tokens of the local
    model count: they are neutralized in other people's text. In all other cases, everything counts that
    `model_fingerprint` describes for a model that writes no replies.

    Args:
        ref: Model of the grader.
        settings: Section `grader` of a profile.

    Returns:
        16 hexadecimal characters; empty if the answers take nothing from the files.

    Raises:
        InputError: `ref` is not a local directory and has no revision.

    Example:
        >>> from rbr.profile import load_profile
        >>> profile = load_profile("profiles/gpu.yaml")
        >>> grader_fingerprint(profile.models.grader, profile.grader)
        ''
    """
    if settings.backend != "openai" or settings.endpoint != "chat":
        return model_fingerprint(ref, writes=False)
    from rbr.grading.server.control_tokens import SpelledOutTokens

    check_pinned(ref)
    literals = SpelledOutTokens.of(ref).literals
    return content_hash(literals) if literals else ""


def identify_grader(
    ref: "ModelRef | None",
    settings: "GraderSettings",
    wait_s: float = 0.0,
    served: Mapping[str, Any] | None = None,
) -> str:
    """Returns the identity of the grader that a profile names. Opens no model; asks a server what it serves.

    Args:
        ref: Model of the grader; None if a server tokenizes for itself.
        settings: Section `grader` of a profile.
        wait_s: How long to wait for a server that is away, in seconds.
        served: What the server says about its model, from `model_behind`; None asks the server.

    Raises:
        InputError: The model has no fingerprint, or the server is away.

    Example:
        >>> from rbr.profile import load_profile
        >>> profile = load_profile("profiles/sandbox.yaml")
        >>> len(identify_grader(profile.models.grader, profile.grader))
        16
    """
    fingerprint = None if ref is None else grader_fingerprint(ref, settings)
    return grader_identity(settings, fingerprint, model_behind(settings, wait_s) if served is None else served)


def model_behind(
    settings: "GraderSettings", wait_s: float = 0.0, on_wait: Callable[[str], None] | None = None
) -> dict[str, Any] | None:
    """Returns what a server says about its model; None if the grader runs in process.

    A caller that opens the grader gives the result to both `identify_grader` and `rbr.grading.open_grader`. Then the
    answers cannot come from another model than the identity says.

    Args:
        settings: Section `grader` of a profile.
        wait_s: How long to wait for a server that is away, in seconds.
        on_wait: Called with a note for the progress line before each pause; None logs the note.

    Raises:
        InputError: The server is away, or its address is missing or malformed.

    Example:
        >>> from rbr.profile import load_profile
        >>> print(model_behind(load_profile("profiles/sandbox.yaml").grader))
        None
    """
    if settings.backend != "openai":
        return None
    # Only a grader behind a server needs the client, which takes a tenth of a second to import.
    from rbr.grading.server.served_models import require_served_model

    return require_served_model(settings, wait_s, on_wait)


def names_the_weights(served: Mapping[str, Any] | None) -> bool:
    """Returns whether the server names the weights. Sizes, and a name that was given to them, fit other weights too.

    Example:
        >>> names_the_weights({"id": "judge", "root": "/models/judge-a"}), names_the_weights({"id": "judge"})
        (True, False)
    """
    said = served or {}
    return any(said.get(key) for key in _NAMES_OF_WEIGHTS) or said.get("root") not in (None, "", said.get("id"))
