"""Swaps under load: two replicas, callers that never wait, and answers checked by their scores."""
