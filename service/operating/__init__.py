"""The operators' verbs on the command line: asking the admin port, confirming, and telling."""
