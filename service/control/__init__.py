"""The control plane of a replica: the desired state, who changes it, and how all follow it."""
