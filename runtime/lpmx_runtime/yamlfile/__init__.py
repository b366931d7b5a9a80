"""YAML files that people write: read with the place of each value, checked by a JSON Schema."""
