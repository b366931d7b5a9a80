"""Differential testing: the same script of file operations on the same layers, in the engine's
union and in another system's, answer by answer.

A `Case` is layers and a script, both plain text (case.py). `generate` makes random ones, `unions`
runs them, `compare` judges and shrinks.
"""
