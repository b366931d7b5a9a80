"""What an image offers a kernel: its Pythons, R, shell, and payloads where it lacks one."""
