"""Reads many questions about a reply from a causal language model in this process, each token once.

`prompt_tokens` encodes the prompts, and `word_cuts` finds where a text can be cut without a change of its token ids.
`packing` lays out the tokens of several prompts, `packed_attention` runs the model on them, and `shared_prefix` selects
the fastest way that gives the answers of a plain forward pass.
"""
