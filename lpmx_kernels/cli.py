"""`lpmx kernel`: kernel specs of images, installed, listed, examined; and their launcher."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from lpmx_kernels.kernelspec import KernelSpec
    from lpmx_kernels.probe import FoundPython
    from lpmx_runtime.finding import Finding

HELP = "Jupyter kernels that run in images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands below `lpmx kernel`."""
    commands = parser.add_subparsers(dest="kernel_command", metavar="COMMAND", required=True)
    _add_install(commands.add_parser("install", help="make an image a kernel"))
    commands.add_parser("list", help="list the kernels of lpmx")
    remove = commands.add_parser("remove", help="remove kernels")
    remove.add_argument("names", nargs="+", metavar="NAME")
    doctor = commands.add_parser("doctor", help="examine a kernel: start it and compute 1+1")
    doctor.add_argument("name", metavar="NAME")
    logs = commands.add_parser("logs", help="print what a kernel wrote to stdout and stderr")
    logs.add_argument("name", metavar="NAME")
    logs.add_argument("--path", action="store_true", help="print the names of its log files")
    starter = commands.add_parser("launch", help="start a kernel; Jupyter clients do this")
    starter.add_argument("--spec", required=True, metavar="NAME|DIR", help="the kernel spec")
    starter.add_argument("-f", dest="connection_file", required=True, metavar="FILE")
    for command in commands.choices.values():
        command.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


def _add_install(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="an image, as `lpmx images` names it")
    parser.add_argument("--name", help="name of the kernel (default: made from the image's)")
    parser.add_argument("--display-name", help="name that Jupyter shows")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", help="for this user (default)")
    where.add_argument("--sys-prefix", action="store_true", help="for this Python environment")
    where.add_argument("--prefix", metavar="DIR", help="below DIR/share/jupyter")
    parser.add_argument(
        "-v", "--volume", action="append", default=[], metavar="SRC:DST[:ro]", help="add a bind"
    )
    parser.add_argument(
        "-e", "--env", action="append", default=[], metavar="NAME[=VALUE]", help="set a variable"
    )
    parser.add_argument(
        "--persist", default="", metavar="CONTAINER", help="keep what kernels write in CONTAINER"
    )
    parser.add_argument("--python", default="", metavar="PATH", help="the image's Python to use")
    parser.add_argument("-u", "--as-user", default="", metavar="USER", help="user shown inside")
    parser.add_argument(
        "--transport", choices=["tcp", "ipc"], default="", help="default: the client's"
    )


def run(args: argparse.Namespace) -> int:
    """Run `lpmx kernel ...`."""
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "install": _install,
        "list": _list,
        "remove": _remove,
        "doctor": _doctor,
        "logs": _logs,
        "launch": _launch,
    }
    return commands[args.kernel_command](args)


def _install(args: argparse.Namespace) -> int:
    from lpmx_kernels import kernelspec, probe
    from lpmx_kernels.settings import KernelSettings
    from lpmx_runtime.store import Store

    store = Store.open()
    image = store.resolve(args.image)
    name = kernelspec.check_name(args.name or kernelspec.default_name(args.image))
    found = probe.find_python(store, image, wanted=args.python)
    spec = kernelspec.KernelSpec(
        name=name,
        display_name=args.display_name or kernelspec.default_display_name(args.image),
        settings=KernelSettings(
            image=args.image,
            command=found.command,
            binds=tuple(_absolute_bind(bind) for bind in args.volume),
            env=dict(_environment_entry(entry) for entry in args.env),
            persist=args.persist,
            user=args.as_user,
            store=str(store.root) if os.environ.get("LPMX_HOME") else "",
        ),
        transport=args.transport,
        facts={"image_id": image.id, **found.facts},
    )
    prefix = sys.prefix if args.sys_prefix else args.prefix
    directory = kernelspec.write_spec(spec, kernelspec.kernels_directory(prefix=prefix))
    _report_installed(args, spec, found, str(directory))
    return 0


def _report_installed(
    args: argparse.Namespace, spec: KernelSpec, found: FoundPython, directory: str
) -> None:
    if args.json:
        facts = {"name": spec.name, "display_name": spec.display_name, "directory": directory}
        _print_json({**facts, "image": spec.settings.image, "command": list(found.command)})
        return
    print(f"kernel {spec.name} installed in {directory}")
    print(f"  shown as   {spec.display_name}")
    print(f"  image      {spec.settings.image}")
    versions = f"Python {found.python}, ipykernel {found.ipykernel}, {found.libc}"
    print(f"  runs       {found.path} ({versions})")
    print(f"  try it     lpmx kernel doctor {spec.name}; jupyter console --kernel {spec.name}")


def _list(args: argparse.Namespace) -> int:
    from lpmx_kernels.kernelspec import installed_specs

    specs = list(installed_specs())
    if args.json:
        _print_json([spec.to_json() for spec in specs])
        return 0
    rows = [("NAME", "SHOWN AS", "IMAGE", "CONTAINER", "DIRECTORY")]
    rows += [(s.name, s.display_name, s.image, s.persist or "-", str(s.directory)) for s in specs]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[4]]))
    return 0


def _remove(args: argparse.Namespace) -> int:
    from lpmx_kernels.kernelspec import find_spec, remove_spec

    for spec in [find_spec(name) for name in args.names]:
        remove_spec(spec)
        print(f"kernel {spec.name} removed from {spec.directory}")
        if spec.persist:
            print(f"  its container {spec.persist} is kept; `lpmx rm {spec.persist}` removes it")
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from lpmx_kernels.doctor import Doctor
    from lpmx_kernels.kernelspec import find_spec

    def show(finding: Finding) -> None:
        if not args.json:
            print(finding, flush=True)

    doctor = Doctor(find_spec(args.name), show)
    healthy = doctor.examine()
    if args.json:
        _print_json([finding.as_dict() for finding in doctor.findings])
    return 0 if healthy else 1


def _logs(args: argparse.Namespace) -> int:
    from lpmx_kernels.kernelspec import find_spec
    from lpmx_kernels.logs import list_logs
    from lpmx_kernels.settings import read_spec
    from lpmx_runtime.errors import NotFoundError
    from lpmx_runtime.store import Store

    spec = find_spec(args.name)
    root = Store.open(read_spec(spec.directory).settings.store or None).root
    logs = list_logs(root, spec.name)
    if args.path:
        print(*logs, sep="\n", end="\n" if logs else "")
        return 0
    if not logs:
        raise NotFoundError(f"kernel {spec.name}: has not been started yet, so there is no log")
    sys.stdout.buffer.write(logs[0].read_bytes())
    return 0


def _launch(args: argparse.Namespace) -> int:
    from lpmx_kernels import launch

    return launch.become_kernel(args.spec, args.connection_file)


def _absolute_bind(text: str) -> str:
    """A bind as it is meant here and now: the spec is used from any directory."""
    source, colon, rest = text.partition(":")
    if not source:
        raise UsageError(f"bind {text!r}: names no source", hint="-v SRC:DST[:ro]")
    return f"{os.path.abspath(os.path.expanduser(source))}{colon}{rest}"


def _environment_entry(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name:
        raise UsageError(f"variable {text!r}: names nothing", hint="-e NAME=VALUE, or -e NAME")
    if not equals and name not in os.environ:
        raise UsageError(f"variable {name}: is not set here", hint="-e NAME=VALUE")
    return name, value if equals else os.environ[name]


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False))
