"""Measurements: load against a running service, and benches of single parts."""
