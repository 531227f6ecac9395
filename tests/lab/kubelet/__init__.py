"""A real kubelet for guests: built from Debian's sources, with the container runtime that it needs."""
