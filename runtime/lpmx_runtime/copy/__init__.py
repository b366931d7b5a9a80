"""Files in and out of containers: `cp`, `export`, and the tree that both change or read."""
