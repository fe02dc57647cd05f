"""The simulated shop: world, users, behaviour, and the tables they leave."""
