"""Version 1 of the records and of the scoring wire format."""
