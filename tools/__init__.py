"""Scripts behind the words of the Makefile."""
