"""docker's commands that talk to registries: pull, login, logout, search, manifest inspect."""
