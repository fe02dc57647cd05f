"""The scoring bench: the service beside its own graphs in a loop."""
