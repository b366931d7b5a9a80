"""--format: JSON, or the part of Go's templates that scripts use of it.

`json`, `{{json .}}`, `{{json .Config.Env}}`, `{{.Id}}`, text around them, and `table ` before.
Other template code is refused rather than printed wrongly.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["render", "render_rows"]

_FIELD = re.compile(r"\{\{-?\s*(json\s+)?(\.[A-Za-z0-9_.]*)\s*-?\}\}")


def render_rows(rows: Iterable[Mapping[str, Any]], template: str) -> str:
    """One line a row; after `table `, a line with the names of the fields first."""
    rows = list(rows)
    body = template.removeprefix("table ")
    lines = [render(row, body) for row in rows]
    if body != template:
        heads = _FIELD.sub(lambda match: match[2].rpartition(".")[2].upper(), body)
        lines.insert(0, _unescape(heads))
    return "\n".join(lines)


def render(row: Mapping[str, Any], template: str) -> str:
    """@row by @template."""
    if template == "json":
        return json.dumps(row)
    rest = _FIELD.sub("", template)
    if "{{" in rest or "}}" in rest:
        raise UsageError(
            f"--format {template}: more template code than is known here",
            hint="use json, {{json .}} or {{.Field}}",
        )
    return _FIELD.sub(lambda match: _value(row, match, template), _unescape(template))


def _unescape(text: str) -> str:
    return text.replace("\\t", "\t").replace("\\n", "\n")


def _value(row: Mapping[str, Any], match: re.Match[str], template: str) -> str:
    value: Any = row
    for name in filter(None, match[2].split(".")):
        if not isinstance(value, dict) or name not in value:
            raise UsageError(f"--format {template}: there is no field {match[2]}")
        value = value[name]
    if match[1]:
        return json.dumps(value)
    if isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else json.dumps(value)
