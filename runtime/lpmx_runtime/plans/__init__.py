"""What a start needs, as values: binds, variables, exec maps, and the plan file made of them."""
