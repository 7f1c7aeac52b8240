"""The policy, which writes replies, and the reward model, which scores replies.

`pretrained` opens models and tokenizers, and `fingerprint` identifies models.

Importing this package imports neither torch nor transformers; `policy`, `pretrained` and `reward_model` do.
"""
