"""Processes: which run in a container, how others are started, how ours begin and end."""
