"""Feedback: the log of served requests and of what became of them, and the replay of one."""
