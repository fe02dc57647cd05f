"""How a model version comes to serve: fetch, verify, load, golden check, warm-up, swap, drain."""
