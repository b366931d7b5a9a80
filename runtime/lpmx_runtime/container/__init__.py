"""Containers on disk: made, found, entered in registers, committed, stopped, removed."""
