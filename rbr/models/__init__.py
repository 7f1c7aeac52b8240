"""The policy, which writes replies, and the reward model, which scores replies.

`pretrained` opens models and tokenizers, and `fingerprint` identifies models. `chat_template` renders conversations,
`copied_text` finds texts that a template changes, `chat_tokens` encodes conversations, and `reply_text` reads the reply
from a model's tokens. `length_batches` says which sequences may share a forward pass. `prompt_check` finds prompts that
a model cannot use.

Importing this package imports neither torch nor transformers; `policy`, `pretrained` and `reward_model` do.
"""
