"""What cffi has to know of the hosted library, taken from the headers.

These are the functions that are marked VIEW_API, the types that they mention, and the enums and
numbers of the headers that those types come from.
"""

from __future__ import annotations

import re
from pathlib import Path

PRELOAD = Path(__file__).resolve().parents[1]

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
FUNCTION = re.compile(r"^VIEW_API ([^;]*);", re.MULTILINE)
TYPE = re.compile(r"^(struct|enum) (\w+) (\{[^}]*\});", re.MULTILINE)
NUMBER = re.compile(r"^#define (\w+)\s+(0x[0-9a-f]+|\d+)u?\s*$", re.MULTILINE)
STRUCT = re.compile(r"\bstruct (\w+)")


def headers() -> list[Path]:
    """The headers whose declarations Python may see, in the order of what they need."""
    known = [PRELOAD / name for name in ("base/sys.h", "view/view.h", "uufs/uufs.h")]
    return [*known, *sorted((PRELOAD / "hosted").glob("*.h"))]


def declarations() -> str:
    """C text for `FFI.cdef`."""
    text = "\n".join(COMMENT.sub("", path.read_text()) for path in headers())
    functions = [f"{' '.join(function.split())};" for function in FUNCTION.findall(text)]
    structs = {name: body for kind, name, body in TYPE.findall(text) if kind == "struct"}
    lines = [f"#define {name} {value}" for name, value in NUMBER.findall(text)]
    lines += [f"enum {name} {body};" for kind, name, body in TYPE.findall(text) if kind == "enum"]
    for name in _mentioned("\n".join(functions), structs):
        lines.append(f"struct {name} {structs[name]};" if name in structs else f"struct {name};")
    return "\n".join([*lines, *functions, ""])


def _mentioned(text: str, structs: dict[str, str]) -> list[str]:
    """The structs that @text needs, each behind those that it has as members."""
    found: dict[str, None] = {}

    def visit(name: str) -> None:
        if name in found:
            return
        for member in STRUCT.findall(structs.get(name, "")):
            if member != name:
                visit(member)
        found[name] = None

    for name in STRUCT.findall(text):
        visit(name)
    return list(found)
