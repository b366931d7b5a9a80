"""What jupyter_kernel_test needs to know of each kind of kernel, and a way to run it on one."""

from __future__ import annotations

import unittest
from typing import Any, ClassVar

import jupyter_kernel_test


class PythonKernel(jupyter_kernel_test.KernelTests):
    """ipykernel. Every test of the suite has its sample, so none is skipped."""

    __test__ = False
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples: ClassVar[list[dict[str, Any]]] = [
        {"text": "zi", "matches": {"zip"}},
        {"text": "open('/etc/debian_versi", "matches": {"/etc/debian_version"}},
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


class ShellKernel(jupyter_kernel_test.KernelTests):
    """What of the suite is meant for shells: no results, history, help or pictures."""

    __test__ = False
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


class RKernel(jupyter_kernel_test.KernelTests):
    """IRkernel."""

    __test__ = False
    language_name = "R"
    file_extension = ".r"
    code_hello_world = 'cat("hello, world\\n")'
    code_stderr = 'message("test")'
    completion_samples: ClassVar[list[dict[str, Any]]] = [
        {"text": "zi", "matches": {"zip"}},
    ]
    complete_code_samples: ClassVar[list[str]] = ["1", 'print("hello")', "f <- function(x) {x*2}"]
    incomplete_code_samples: ClassVar[list[str]] = ['print("hello', "f <- function(x) {x*2"]
    invalid_code_samples: ClassVar[list[str]] = ["import(1;"]
    code_page_something = "?cat"
    code_generate_error = "raise"
    code_display_data: ClassVar[list[dict[str, str]]] = [
        {"code": "1+2+3", "mime": "text/plain"},  # its results are such
    ]
    code_inspect_sample = "cat"
    code_clear_output = "IRdisplay::clear_output()"


def run_suite(kind: type[jupyter_kernel_test.KernelTests], kernel: str) -> unittest.TestResult:
    """All tests of the suite on the kernel spec @kernel."""
    case = type("Case", (kind,), {"kernel_name": kernel, "__test__": True})
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    return result


def describe(result: unittest.TestResult) -> str:
    """All that failed, for an assertion."""
    return "\n".join(f"{case}\n{text}" for case, text in [*result.failures, *result.errors])
