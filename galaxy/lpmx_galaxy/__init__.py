"""Other engines' command lines over lpmx_runtime, and what Galaxy and its kin need beside them.

What it is not: an engine. Everything that runs a program is lpmx_runtime's.
"""
