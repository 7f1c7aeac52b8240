"""llama.cpp answers the same request with other last digits once its prompt is cached."""

import pytest

from tests.judges.conftest import JudgeModel
from tests.judges.judged_conversations import QUESTIONS, gold_conversations
from tests.judges.servers import JudgeServer, llamacpp, smollm2_gguf
from tests.judges.test_server_answers import by_token_ids, p_yes

pytestmark = pytest.mark.slow


def largest_noise(server: JudgeServer, model: JudgeModel, conversations: int, questions: int) -> float:
    """Largest difference of P(yes) between a prompt that the server reads anew, and the same prompt from its cache."""
    noise = []
    for turns in gold_conversations(conversations):
        for question in QUESTIONS[:questions]:
            prompt = [model.plain.tokens(model.plain.message(turns, question))]
            first = by_token_ids(server, prompt, cache_prompt=False)[0]
            again = [by_token_ids(server, prompt, cache_prompt=True)[0] for _ in range(2)]
            noise.append(max(abs(p_yes(answer) - p_yes(first)) for answer in again))
    print(f"{server.name}: {len(noise)} prompts, noise at most {max(noise):.1e}")
    return max(noise)


# The measured noise is 8.5e-7 and 9.8e-4. llama.cpp keeps keys and values as fp16 unless it is told otherwise.
@pytest.mark.parametrize(("cache_type", "bound"), [("f32", 1e-5), ("f16", 5e-3)])
def test_the_noise_of_fp32_weights_comes_from_the_cache_of_keys_and_values(
    tiny_grader: JudgeModel, cache_type: str, bound: float
) -> None:
    with llamacpp(tiny_grader.gguf, f"grader-{cache_type}", context=512, cache_type=cache_type) as server:
        assert largest_noise(server, tiny_grader, conversations=20, questions=10) < bound


@pytest.mark.judges
def test_the_noise_of_4_bit_weights_is_larger(smollm2: JudgeModel) -> None:
    with llamacpp(smollm2_gguf(), "smollm2-q4_1", context=2048, cache_type="f16") as server:
        # Measured: 6.2e-2 on 40 prompts.
        assert 1e-3 < largest_noise(server, smollm2, conversations=5, questions=4) < 0.2
