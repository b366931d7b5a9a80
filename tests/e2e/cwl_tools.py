"""CWL documents of our own which do with containers what the tests tagged `docker` of the CWL 1.2
conformance suite do: that suite is in no package, so the tests cannot have it.

Each: its document, its job, and what cwltool must print of the output `out`, whether the text of a
file or a value. IMAGE, ENTRY and ARCHIVE are names of images and a docker-save file.
"""

from __future__ import annotations

from typing import Any

Case = tuple[dict[str, Any], dict[str, Any], Any]
_STDOUT = {"out": {"type": "stdout"}}


def _tool(
    *command: str,
    inputs: dict[str, Any] | None = None,
    outputs: dict[str, Any] | None = None,
    needs: dict[str, Any] | None = None,
    image: dict[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    docker = {"DockerRequirement": image or {"dockerPull": "IMAGE"}}
    return {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "requirements": docker | {"InlineJavascriptRequirement": {}} | (needs or {}),
        "baseCommand": list(command),
        "inputs": inputs or {},
        "outputs": outputs or _STDOUT,
        **({} if outputs else {"stdout": "said.txt"}),
        **more,
    }


def _sh(script: str, **more: Any) -> dict[str, Any]:
    return _tool("sh", "-c", script, **more)


def _file(name: str) -> dict[str, Any]:
    return {"out": {"type": "File", "outputBinding": {"glob": name}}}


_IN = {"class": "File", "path": "letters.txt"}
_WORK = "InitialWorkDirRequirement"

CASES: dict[str, Case] = {
    "image": (_tool("cat", "/etc/lpmx-image"), {}, "demo\n"),
    "entrypoint": (
        # no command: the image's own, and its entry point
        _tool(image={"dockerPull": "ENTRY"}, arguments=["sh", "-c", "echo $GREET_HOME"]),
        {},
        "/usr/local\n",
    ),
    "input": (
        _tool("sort", inputs={"file": {"type": "File", "inputBinding": {}}}),
        {"file": _IN},
        "a\nb\nc\n",
    ),
    "standard input": (
        _tool("sort", "-r", inputs={"file": "File"}, stdin="$(inputs.file.path)"),
        {"file": _IN},
        "c\nb\na\n",
    ),
    "standard error": (
        _sh("echo said >&2", outputs={"out": {"type": "stderr"}}, stderr="said.txt"),
        {},
        "said\n",
    ),
    "output directory": (
        _sh("pwd", image={"dockerPull": "IMAGE", "dockerOutputDirectory": "/other"}),
        {},
        "/other\n",
    ),
    "home and tmp are the run's own": (
        _sh('test "$HOME" = "$PWD" && echo x > "$TMPDIR/scratch" && cat "$TMPDIR/scratch"'),
        {},
        "x\n",
    ),
    "variables": (
        _sh(
            "echo $GIVEN/$ONLY_OF_THE_HOST", needs={"EnvVarRequirement": {"envDef": {"GIVEN": "g"}}}
        ),
        {},
        "g/\n",
    ),
    "staged file is read-only": (
        _sh(
            'echo no >> "$0" || cat "$0"',
            inputs={"file": {"type": "File", "inputBinding": {}}},
            stderr="err.txt",
        ),
        {"file": _IN},
        "c\na\nb\n",
    ),
    "literal in the working directory": (
        _tool(
            "cat",
            "made.txt",
            needs={_WORK: {"listing": [{"entryname": "made.txt", "entry": "literal\n"}]}},
        ),
        {},
        "literal\n",
    ),
    "writable copy": (
        _sh(
            "echo d >> letters.txt && cat letters.txt",
            inputs={"file": "File"},
            needs={_WORK: {"listing": [{"entry": "$(inputs.file)", "writable": True}]}},
        ),
        {"file": _IN},
        "c\na\nb\nd\n",
    ),
    "entry at a path of the container": (
        # only with an image may a document name such a path
        _tool(
            "cat",
            "/opt/deep/er/letters.txt",
            inputs={"file": "File"},
            needs={
                _WORK: {
                    "listing": [
                        {"entryname": "/opt/deep/er/letters.txt", "entry": "$(inputs.file)"}
                    ]
                }
            },
        ),
        {"file": _IN},
        "c\na\nb\n",
    ),
    "secondary files beside their file": (
        _sh(
            'cat "$0" "$0.idx"',
            inputs={"file": {"type": "File", "secondaryFiles": [".idx"], "inputBinding": {}}},
        ),
        {"file": _IN},
        "c\na\nb\nindex\n",
    ),
    "directory": (
        _sh('cat "$0"/*', inputs={"folder": {"type": "Directory", "inputBinding": {}}}),
        {"folder": {"class": "Directory", "path": "folder"}},
        "one\ntwo\n",
    ),
    "output by cwl.output.json": (
        _sh(
            """echo x > x.txt
            printf '{"out": {"class": "File", "path": "%s/x.txt"}}' "$PWD" > cwl.output.json""",
            outputs={"out": "File"},
        ),
        {},
        "x\n",
    ),
    "status that means success": (_sh("echo x; exit 3", successCodes=[3]), {}, "x\n"),
    "network": (
        _tool(
            "python3",
            "-c",
            "import socket; s = socket.create_server(('127.0.0.1', 0));"
            "socket.create_connection(s.getsockname()); print('connected')",
            needs={"NetworkAccess": {"networkAccess": True}},
        ),
        {},
        "connected\n",
    ),
    "workflow of three steps": (
        {
            "cwlVersion": "v1.2",
            "class": "Workflow",
            "requirements": {"ScatterFeatureRequirement": {}},
            "inputs": {"files": "File[]"},
            "outputs": {"out": {"type": "File", "outputSource": "count/out"}},
            "steps": {
                "sort": {
                    "run": _tool("sort", inputs={"file": {"type": "File", "inputBinding": {}}}),
                    "scatter": "file",
                    "in": {"file": "files"},
                    "out": ["out"],
                },
                "join": {
                    "run": _tool("cat", inputs={"files": {"type": "File[]", "inputBinding": {}}}),
                    "in": {"files": "sort/out"},
                    "out": ["out"],
                },
                "count": {
                    "run": _tool("wc", "-l", inputs={"file": "File"}, stdin="$(inputs.file.path)"),
                    "in": {"file": "join/out"},
                    "out": ["out"],
                },
            },
        },
        {"files": [_IN, _IN]},
        "6\n",
    ),
}
