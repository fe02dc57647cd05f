"""The group report: whether groups can be trusted, on one page."""
