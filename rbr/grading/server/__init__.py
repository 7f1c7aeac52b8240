"""The client of an OpenAI-compatible server, in the parts that `rbr.grading.openai` puts together.

`address` knows the server's URLs and the key, and `connection` sends one request. `requests` writes the requests of the
two endpoints, and `responses` reads the answers. `failures` says what kind of failure a reply is, and `advice` says
what to do about it. `patience` slows down, pauses and waits, and `asking` repeats a request until it is answered.
`probe` tries the settings before the first question, and `first_token` says why no answer was readable.
`control_tokens` keeps other people's text from becoming structure, `token_prompts` encodes prompts for the endpoint
``completions``, and `served_models` says who answers.
"""
