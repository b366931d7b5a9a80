"""What a kernel spec says, and how it is read, written and found."""
