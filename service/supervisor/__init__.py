"""The processes of one replica: workers spawned, heard, told and respawned; one admin port."""
