"""A kernel that runs: readiness, processes, logs, what is told when it fails, its end."""
