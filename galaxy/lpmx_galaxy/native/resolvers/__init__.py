"""On the search path of Galaxy's resolvers; see lpmx_galaxy.native."""
