"""The kernel on the host whose shell is in a container."""
