"""Baselines on the network's shared tables, tokens and channels."""
