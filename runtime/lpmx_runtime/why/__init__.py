"""`lpmx why`: the telling walk of a path, and the rules that a command meets."""
