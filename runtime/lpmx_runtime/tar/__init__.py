"""Tar archives: reading hostile ones, writing layers, and the exact bytes of both."""
