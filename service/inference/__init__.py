"""How graphs are run; a vendor is one file behind the Protocol of ``backend``."""
