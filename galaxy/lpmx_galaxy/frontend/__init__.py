"""What the command lines of other engines share."""
