"""What answers rest on: records fetched within a deadline, group priors, and the ladder."""
