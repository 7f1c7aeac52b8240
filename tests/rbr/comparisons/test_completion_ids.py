"""The id of a completion covers everything that determines its text, and nothing else."""

from rbr.comparisons.completion_ids import completion_id, completion_seed, sampling_key

PROMPT = [{"role": "user", "content": "Hello"}]
SAMPLING = sampling_key({"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 64, "seed": 0})


def test_every_input_changes_the_id_and_equal_inputs_give_equal_ids() -> None:
    ids = [
        completion_id("p", PROMPT, "policy", SAMPLING, 0),
        completion_id("q", PROMPT, "policy", SAMPLING, 0),
        completion_id("p", [{"role": "user", "content": "Hello\n\nApologize."}], "policy", SAMPLING, 0),
        completion_id("p", PROMPT, "other", SAMPLING, 0),
        completion_id("p", PROMPT, "policy", sampling_key({"temperature": 0.7}), 0),
        completion_id("p", PROMPT, "policy", SAMPLING, 1),
    ]
    assert len(set(ids)) == len(ids)
    assert all(len(text) == 16 for text in ids)
    assert ids[0] == completion_id("p", tuple(PROMPT), "policy", SAMPLING, 0)


def test_the_sampling_key_does_not_depend_on_the_order_of_the_settings() -> None:
    assert sampling_key({"a": 1, "b": 0.5}) == sampling_key({"b": 0.5, "a": 1}) != sampling_key({"a": 1, "b": 0.6})


def test_seeds_are_stable_distinct_and_fit_a_signed_integer() -> None:
    seeds = [completion_seed(completion_id("p", PROMPT, "policy", SAMPLING, index)) for index in range(100)]
    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seeds[0] == completion_seed(completion_id("p", PROMPT, "policy", SAMPLING, 0))
