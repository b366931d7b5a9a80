"""`lpmx galaxy`: a site's files, their examination, and the images of its tools."""
