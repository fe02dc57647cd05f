"""Methods: the named ways to score that evaluation compares."""
