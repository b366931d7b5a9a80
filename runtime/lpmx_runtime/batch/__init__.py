"""Batch systems: jobs submitted from inside a container come back to life in it on the node.

sge.py, slurm.py, pbs.py and lsf.py rewrite a submission and touch nothing; submit.py carries it
out. docs/batch.md says what is rewritten.
"""
