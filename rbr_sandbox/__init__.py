"""An offline world in which the truth about every reply is known, and the four small models trained on it.

Start with `rbr_sandbox.world` (prompts), `rbr_sandbox.oracle` (the truth about a reply) and
`rbr_sandbox.questions` (what the grader is asked). ``train/`` trains the models, ``measure/`` measures them.
"""
