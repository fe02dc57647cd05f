"""Online figures: what the served log and the outcomes say of the models that answered."""
