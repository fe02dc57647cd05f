"""The project's protobuf packages."""
