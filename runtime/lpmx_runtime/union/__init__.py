"""File trees of containers and images from outside, by the engine's own rules.

All of it is a wrapper of the C library (preload/uufs): nothing here knows what a whiteout is.

- `tree`: what a path leads to, its kind, owner and mode, the names of a directory.
- `paths`: between a container's paths and the host's.
- `programs`: programs by name or path.
"""
