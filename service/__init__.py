"""The serving half: answers scoring requests from a bundle and a generation of records."""
