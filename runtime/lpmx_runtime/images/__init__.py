"""Images: where they come from and how they get into the store."""
