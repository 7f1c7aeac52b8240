"""A cell's name covers everything that made the row, and nothing else."""

from rbr.comparisons.completion_ids import completion_id, sampling_key, seed_of

PROMPT = [{"role": "user", "content": "Hello"}]
SAMPLING = sampling_key({"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 64, "seed": 0})


def test_each_input_moves_the_name_and_repeating_them_does_not() -> None:
    names = [
        completion_id("p", PROMPT, "policy", SAMPLING, 0),
        completion_id("q", PROMPT, "policy", SAMPLING, 0),
        completion_id("p", [{"role": "user", "content": "Hello\n\nApologize."}], "policy", SAMPLING, 0),
        completion_id("p", PROMPT, "other", SAMPLING, 0),
        completion_id("p", PROMPT, "policy", sampling_key({"temperature": 0.7}), 0),
        completion_id("p", PROMPT, "policy", SAMPLING, 1),
    ]
    assert len(set(names)) == len(names)
    assert all(len(name) == 16 for name in names)
    assert names[0] == completion_id("p", tuple(PROMPT), "policy", SAMPLING, 0)


def test_sampling_settings_are_named_whatever_their_order() -> None:
    assert sampling_key({"a": 1, "b": 0.5}) == sampling_key({"b": 0.5, "a": 1}) != sampling_key({"a": 1, "b": 0.6})


def test_seeds_are_stable_distinct_and_fit_a_signed_integer() -> None:
    seeds = [seed_of(completion_id("p", PROMPT, "policy", SAMPLING, index)) for index in range(100)]
    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seeds[0] == seed_of(completion_id("p", PROMPT, "policy", SAMPLING, 0))
