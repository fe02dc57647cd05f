"""The shared core: everything that training and serving must agree on."""
