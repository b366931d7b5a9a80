"""Starts: from an image, options and surroundings to a plan, and carrying it out."""
