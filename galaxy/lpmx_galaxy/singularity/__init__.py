"""`lpmx-singularity`: a command line of Apptainer's and Singularity's shape."""
