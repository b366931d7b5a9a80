"""`config.yaml`: what user and site have settled for all programs."""
