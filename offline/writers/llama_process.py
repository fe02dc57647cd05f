"""The local model's process: llama.cpp's own server, until the parent's end of stdin closes."""

import os
import sys

import xllamacpp

CONTEXT_TOKENS = 4096


def main() -> None:
    """Serve the model named by the first argument and print the server's address.

    One slot, no reuse of earlier prompts: an answer depends on its own request alone. The key that
    requests must carry comes by the environment, where other users of the machine cannot read it.
    """
    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.model_alias = {sys.argv[2]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [os.environ["CHOIRREC_LOCAL_KEY"]]
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = 1
    params.cache_prompt = False
    params.ui = False
    params.verbosity = 0
    params.cpuparams.n_threads = int(sys.argv[3])
    params.cpuparams_batch.n_threads = int(sys.argv[3])
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    # A parent that was killed closes the pipe as well: no server is left behind.
    sys.stdin.read()


if __name__ == "__main__":
    main()
