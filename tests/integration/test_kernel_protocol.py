"""The public test suite of Jupyter kernels, jupyter_kernel_test, on a kernel in an image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

import jupyter_kernel_test
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.lpmx import Lpmx

OWN, PAYLOAD, SHELL = "lpmx-own", "lpmx-payload", "lpmx-shell"


@pytest.fixture(scope="module", autouse=True)
def _kernels(
    tmp_path_factory: pytest.TempPathFactory,
    store: Lpmx,
    image: Callable[[str], str],
    payload_image: str,
) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("jupyter")
    (folder / "runtime").mkdir()
    environment = {
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    images = {OWN: image("demo"), PAYLOAD: payload_image, SHELL: image("biocontainer")}
    for name, which in images.items():
        store("kernel", "install", which, "--name", name, env=environment)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setitem(os.environ, name, value)
        yield


class TestOwnKernel(jupyter_kernel_test.KernelTests):
    """Every test of the suite has its sample, so none is skipped."""

    kernel_name = OWN
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples: ClassVar[list[dict[str, Any]]] = [
        {"text": "zi", "matches": {"zip"}},
        {"text": "open('/etc/lpmx-im", "matches": {"/etc/lpmx-image"}},
    ]
    complete_code_samples: ClassVar[list[str]] = [
        "1",
        "print('hello')",
        "def f(x):\n  return 2\n\n",
    ]
    incomplete_code_samples: ClassVar[list[str]] = ["print('''hello", "def f(x):\n  x*2"]
    invalid_code_samples: ClassVar[list[str]] = ["import = 7q"]
    code_page_something = "zip?"
    code_generate_error = "raise ValueError('an error')"
    code_execute_result: ClassVar[list[dict[str, str]]] = [
        {"code": "1+2+3", "result": "6"},
        {"code": "[n*n for n in range(1, 4)]", "result": "[1, 4, 9]"},
    ]
    code_display_data: ClassVar[list[dict[str, str]]] = [
        {
            "code": "from IPython.display import HTML, display; display(HTML('x'))",
            "mime": "text/html",
        },
        {
            "code": "from IPython.display import Math, display; display(Math('x'))",
            "mime": "text/latex",
        },
    ]
    code_history_pattern = "1?2*"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"

    def history_helper(self, *args: Any, **request: Any) -> dict[str, Any]:
        """As the suite's; but ipykernel calls the present session 0 in ranges."""
        session = request.get("session")
        reply = super().history_helper(*args, **(request | {"session": 0} if session else request))
        if session:
            entries = reply["content"]["history"]
            reply["content"]["history"] = [(session, *entry[1:]) for entry in entries]
        return reply


class TestPayloadKernel(TestOwnKernel):
    """The same for an ipykernel that the image does not have."""

    kernel_name = PAYLOAD


class TestShellKernel(jupyter_kernel_test.KernelTests):
    """What of the suite is meant for shells: no results, history, help or pictures."""

    kernel_name = SHELL
    language_name = "bash"
    file_extension = ".sh"
    code_hello_world = "echo hello, world"
    code_stderr = "echo test >&2"
    completion_samples: ClassVar[list[dict[str, Any]]] = [
        {"text": "ech", "matches": {"echo"}},
        {"text": "cat /etc/lpmx-im", "matches": {"/etc/lpmx-image"}},
    ]
    complete_code_samples: ClassVar[list[str]] = ["echo", "for i in 1; do\n  echo\ndone\n"]
    incomplete_code_samples: ClassVar[list[str]] = ["echo 'a", "if true; then", "echo \\"]
    invalid_code_samples: ClassVar[list[str]] = ["if then fi"]
    code_generate_error = "false"
    # not skipped, but not there: a shell has nothing of the kind
    test_clear_output = test_display_data = test_execute_result = None
    test_history = test_inspect = test_pager = None
