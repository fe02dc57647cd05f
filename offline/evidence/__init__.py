"""Evidence: cells are run, kept in one tidy table, and reported with their intervals."""
