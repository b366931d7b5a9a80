"""Starts an image's own ipykernel, with the magics of lpmx within its reach. Runs in the container.

What `python -m ipykernel_launcher` does, and one folder more at the very end of this process's
path, so that `%load_ext lpmx_kernels` works in an image that knows nothing of it. Nothing is set in
the environment. Needs a Python that has ipykernel, no matter how old.

An IPython before 7.31.1 or 8.0.1 takes configuration and start-up files from the folder it stands
in, which is the notebook's (CVE-2022-21699): here it takes the user's own alone, as later ones do.
"""

import os
import sys
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))


def keep_to_own_profile(app: Any) -> None:
    """Have an old IPython look for configuration where newer ones do."""
    import IPython
    from IPython.core.profiledir import ProfileDir

    if IPython.version_info[:3] >= (8, 0, 1):
        return

    def find(cls: Any, ipython_dir: str, name: str = "default", config: Any = None) -> Any:
        return cls.find_profile_dir(os.path.join(ipython_dir, "profile_" + name), config)

    app.config_file_paths = []
    ProfileDir.find_profile_dir_by_name = classmethod(find)  # type: ignore[assignment,unused-ignore]


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
    app: Any = kernelapp.IPKernelApp.instance()
    keep_to_own_profile(app)
    app.initialize()
    app.start()


if __name__ == "__main__":
    main()
