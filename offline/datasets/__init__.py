"""Adapters from raw logs to the canonical tables."""
