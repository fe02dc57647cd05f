"""The offline pipeline: from a raw log to a bundle and a generation of records."""
