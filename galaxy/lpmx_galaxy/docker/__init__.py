"""`lpmx-docker`: a command line of docker's shape."""
