"""Environments: YAML files that compose images, host commands and batch systems."""
