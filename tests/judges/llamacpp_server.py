"""Serves a GGUF file on loopback with llama.cpp's own HTTP server, until standard input is closed.

Run by the Python of `.venv-judges/llamacpp`, which has xllamacpp and nothing of this project.

Usage: python llamacpp_server.py GGUF PORT NAME CONTEXT SLOTS CACHE_TYPE
"""

import sys

import xllamacpp

gguf, port, name, context, slots, cache_type = sys.argv[1:]
parameters = xllamacpp.CommonParams()
parameters.model.path = gguf
parameters.hostnames = ["127.0.0.1"]
parameters.port = int(port)
parameters.model_alias = {name}
parameters.n_ctx = int(context) * int(slots)  # The server divides the context between the slots.
parameters.n_parallel = int(slots)
parameters.warmup = False
parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
if cache_type == "f32":
    # By default the keys and values of a prompt are kept as fp16.
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
server = xllamacpp.Server(parameters)
print("listening on", server.listening_address, flush=True)
# The input is a pipe from the test. It is closed if the test process ends, in whatever way.
sys.stdin.read()
