"""The identity of a grader: a hash of everything that changes its answers, and of nothing else.

Stored grades, the fitted reward, trainings and evaluations carry the same identity, so none of them mixes two graders.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rbr.hashing import content_hash
from rbr.models.fingerprint import model_fingerprint

if TYPE_CHECKING:
    from rbr.profile import GraderSettings, ModelRef


def grader_identity(
    settings: "GraderSettings", fingerprint: str | None = None, served: Mapping[str, Any] | None = None
) -> str:
    """Returns the identity of a grader.

    Few-shot examples are part of a question's hash instead. No answer depends on the batch size, the number of
    connections or the patience, so they are not part of the identity.

    Args:
        settings: Section `grader` of a profile.
        fingerprint: Fingerprint of the model. A server has its own model, so it counts only for other backends, and for
            the endpoint ``completions``, which tokenizes with it.
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
        >>> first == grader_identity(settings, "another fingerprint", {"id": "grader", "root": "/models/judge-a"})
        True
    """
    reading = {
        "backend": settings.backend,
        "prompt_template": settings.prompt_template,
        "yes": sorted(settings.yes),
        "no": sorted(settings.no),
        "min_mass": settings.min_mass,
        "max_bound": settings.max_bound,
    }
    match settings.backend:
        case "openai":
            judge: dict[str, Any] = {
                "model_name": settings.model_name,
                "model_epoch": settings.model_epoch,
                "served": dict(served or {}),
                "endpoint": settings.endpoint,
                "top_logprobs": settings.top_logprobs,
                "chat_template_kwargs": settings.chat_template_kwargs,
                "extra_body": settings.extra_body,
            }
            if settings.endpoint == "completions":
                judge["tokenizer"] = fingerprint
            if not _describes_the_model(served):
                # Without a description, only the address tells two servers with the same name apart.
                judge["base_url"] = settings.base_url
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
    fingerprint = None if ref is None else model_fingerprint(ref)
    return grader_identity(settings, fingerprint, model_behind(settings, wait_s) if served is None else served)


def model_behind(settings: "GraderSettings", wait_s: float = 0.0) -> dict[str, Any] | None:
    """Returns what a server says about its model; None if the grader runs in process.

    A caller that opens the grader gives the result to both `identify_grader` and `rbr.grading.open_grader`. Then the
    answers cannot come from another model than the identity says.

    Args:
        settings: Section `grader` of a profile.
        wait_s: How long to wait for a server that is away, in seconds.

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

    return require_served_model(settings, wait_s)


def _describes_the_model(served: Mapping[str, Any] | None) -> bool:
    return bool(set(served or {}) - {"id", "object", "owned_by"})
