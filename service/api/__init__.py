"""The faces of the service over HTTP: the scoring route, the status routes, the admin app."""
