from math import log

import numpy as np
import pytest

from rbr.errors import InputError
from rbr.grading import Outcome, Question
from rbr.grading.answers import Reading
from rbr.grading.transformers import TransformersGrader
from rbr.grading.vllm import VllmGrader, engine_options, read_answer
from rbr.profile import ModelRef, VllmSettings
from tests.rbr.grading.grader_settings import grader_settings
from tests.tiny_models import tiny_tokenizer

REF = ModelRef(path="org/judge", revision="abc")
CONVERSATIONS = [
    [{"role": "user", "content": "How do I boil an egg?"}, {"role": "assistant", "content": reply}]
    for reply in ("No.", "I'm sorry, but I can't help with that.", "No.", "and so on " * 200)
]
QUESTIONS = [Question("apology", "Is the reply an apology?"), Question("refusal", "Does it refuse?")]


def test_the_engine_takes_its_settings_from_the_profile() -> None:
    vllm = VllmSettings(dtype="bfloat16", max_model_len=4096, gpu_memory_utilization=0.5, tensor_parallel_size=2)
    assert engine_options(REF, grader_settings(vllm=vllm, top_logprobs=50)) == {
        "model": "org/judge",
        "revision": "abc",
        "dtype": "bfloat16",
        "max_model_len": 4096,
        "gpu_memory_utilization": 0.5,
        "tensor_parallel_size": 2,
        "max_logprobs": 50,
        "enable_prefix_caching": True,
        "seed": 0,
    }


def test_an_answer_is_read_by_token_id_and_a_reason_shows_texts() -> None:
    tokenizer = tiny_tokenizer()
    yes, no, other = (tokenizer.encode(text)[0] for text in ("yes", "no", "R"))
    reading = Reading(min_mass=0.5, max_bound=0.01)
    listed = {yes: log(0.6), no: log(0.3), other: log(0.001)}
    assert read_answer(reading, listed, [yes], [no], tokenizer).p_yes == pytest.approx(2 / 3)
    # `no` is not listed, so it can have as much as the last token that is.
    unreadable = read_answer(reading, {yes: log(0.6), other: log(0.3)}, [yes], [no], tokenizer)
    assert unreadable.outcome is Outcome.UNREADABLE
    assert unreadable.reason.endswith("above max_bound; likeliest tokens: 'yes' 0.600, 'R' 0.300")


def test_without_vllm_the_error_says_how_to_install_it() -> None:
    try:
        import vllm  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="vLLM is not installed"):
            VllmGrader(REF, grader_settings(backend="vllm"))
    else:
        pytest.skip("vLLM is installed")


@pytest.mark.slow
def test_vllm_gives_the_grades_of_the_transformers_backend() -> None:
    pytest.importorskip("vllm")
    # Not a random tiny model: on a CPU, vLLM's attention needs heads of 32 or more.
    ref = ModelRef(path="rbr_sandbox/models/grader", revision=None)
    vllm = VllmSettings(dtype="float32", max_model_len=512, gpu_memory_utilization=0.5, tensor_parallel_size=1)
    settings = grader_settings(backend="vllm", vllm=vllm, top_logprobs=2048)
    reported: list[int] = []
    answers = VllmGrader(ref, settings).grade(CONVERSATIONS, QUESTIONS, lambda done, note: reported.append(done))
    expected = TransformersGrader(ref, settings).grade(CONVERSATIONS, QUESTIONS)
    np.testing.assert_allclose(answers.p_yes, expected.p_yes, atol=1e-3)
    assert (answers.outcomes == expected.outcomes).all()
    assert reported[-1] == 4
