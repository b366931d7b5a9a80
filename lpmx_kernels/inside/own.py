"""Starts an image's own ipykernel, with the magics of lpmx within its reach. Runs in the container.

What `python -m ipykernel_launcher` does, and one folder more at the very end of this process's
path, so that `%load_ext lpmx_kernels` works in an image that knows nothing of it. Nothing is set in
the environment. Needs a Python that has ipykernel, no matter how old.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def main() -> None:
    """Become the kernel that the arguments describe."""
    if sys.path and os.path.abspath(sys.path[0]) == HERE:
        del sys.path[0]
    sys.path.append(os.path.join(HERE, "site"))
    try:
        from ipykernel import kernelapp
    except ImportError as error:
        if error.name != "ipykernel":
            raise
        sys.exit("%s: No module named ipykernel" % sys.executable)  # noqa: UP031  # old Pythons
    kernelapp.launch_new_instance()


if __name__ == "__main__":
    main()
