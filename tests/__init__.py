"""The project's tests: unit, paper, contract, end to end."""
