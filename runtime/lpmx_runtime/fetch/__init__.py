"""Images that the store lacks: from supply directories or a registry, by one policy."""
