"""What one start of a kernel adds: the notebook, the environment file, its own settings."""
