"""`lpmx kernel`: kernel specs of images, installed, listed, examined; and their launcher."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from typing import TYPE_CHECKING

from lpmx_runtime.cli import options
from lpmx_runtime.errors import NotFoundError, UsageError
from lpmx_runtime.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lpmx_kernels.install import Installed
    from lpmx_runtime.doctor.finding import Finding

HELP = "Jupyter kernels that run in images"
LAUNCHERS = ("local", "slurm", "sge")
TIERS = ("auto", "ipykernel", "ir", "payload", "shell", "bash")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands below `lpmx kernel`."""
    commands = parser.add_subparsers(dest="kernel_command", metavar="COMMAND", required=True)
    _add_install(commands.add_parser("install", help="make an image a kernel"))
    commands.add_parser("list", help="list the kernels of lpmx")
    for name, text in (
        ("remove", "remove kernels"),
        ("reset", "forget what kernels have kept by --persist"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("names", nargs="+", metavar="NAME")
    doctor = commands.add_parser("doctor", help="examine a kernel: start it and compute 1+1")
    doctor.add_argument("name", metavar="NAME")
    logs = commands.add_parser("logs", help="print what a kernel wrote to stdout and stderr")
    logs.add_argument("name", metavar="NAME")
    logs.add_argument("--path", action="store_true", help="print the names of its log files")
    sync = commands.add_parser("sync", help="a kernel for each stored image, none for gone ones")
    sync.add_argument("patterns", nargs="*", default=["*"], metavar="PATTERN", help="image names")
    _add_place(sync)
    _add_payload(commands.add_parser("payload", help="ipykernel for images that have none"))
    starter = commands.add_parser("launch", help="start a kernel; Jupyter clients do this")
    starter.add_argument("--spec", required=True, metavar="NAME|DIR", help="the kernel spec")
    starter.add_argument("-f", dest="connection_file", required=True, metavar="FILE")
    for command in commands.choices.values():
        _add_json(command)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )


def _add_install(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="an image, or an environment, ENV.yaml")
    parser.add_argument("--name", default="", help="name of the kernel (default: the image's)")
    parser.add_argument("--display-name", default="", help="name that Jupyter shows")
    _add_place(parser)
    parser.add_argument(
        "--kernel", choices=TIERS, default="auto", help="what the kernel is (default: auto)"
    )
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
        "--transport", choices=["tcp", "ipc"], default="", help="default: ipc where it is possible"
    )
    parser.add_argument(
        "-m",
        "--map",
        action="append",
        default=[],
        metavar="NAME=TARGET",
        help="run command NAME somewhere else, as of `lpmx run`",
    )
    options.add_pull(parser)
    parser.add_argument("--batch", default="", metavar="auto|...", help="as of `lpmx run`")
    parser.add_argument("--gpus", default="", metavar="all|N|...", help="as of `lpmx run`")
    parser.add_argument(
        "--launcher", choices=LAUNCHERS, default="", help="batch system that finds a node for it"
    )
    parser.add_argument(
        "--launcher-options", default="", metavar="OPTIONS", help="for srun or qrsh, in one word"
    )
    parser.add_argument(
        "--survive", action="store_true", help="outlive the server; the next one finds it again"
    )
    parser.add_argument(
        "--plain", action="store_true", help="for servers where lpmx is not installed"
    )


def _add_place(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", help="for this user (default)")
    where.add_argument("--sys-prefix", action="store_true", help="for this Python environment")
    where.add_argument("--prefix", metavar="DIR", help="below DIR/share/jupyter")


def _add_payload(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="COMMAND", required=True)
    build = actions.add_parser("build", help="make the payload that an image's Python needs")
    build.add_argument("image", metavar="IMAGE")
    build.add_argument("packages", nargs="*", metavar="PACKAGE", help="to put in besides")
    build.add_argument("--wheels", metavar="DIR", help="take wheels from DIR alone, no network")
    build.add_argument("--python", default="", metavar="PATH", help="the image's Python to use")
    actions.add_parser("list", help="list the payloads")
    remove = actions.add_parser("remove", help="remove payloads")
    remove.add_argument("ids", nargs="+", metavar="ID")
    for action in actions.choices.values():
        _add_json(action)


def run(args: argparse.Namespace) -> int:
    """Run `lpmx kernel ...`."""
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "install": _install,
        "list": _list,
        "remove": _remove,
        "reset": _reset,
        "doctor": _doctor,
        "logs": _logs,
        "sync": _sync,
        "payload": _payload,
        "launch": _launch,
    }
    return commands[args.kernel_command](args)


def main(argv: Sequence[str] | None = None) -> int:
    """`jupyter lpmx ...`: the same as `lpmx kernel ...`."""
    from lpmx_runtime.cli.main import main as lpmx

    return lpmx(["kernel", *(sys.argv[1:] if argv is None else argv)])


def _install(args: argparse.Namespace) -> int:
    from lpmx_kernels import install

    wishes = install.Wishes(
        image=args.image,
        name=args.name,
        display_name=args.display_name,
        tier=args.kernel,
        python=args.python,
        binds=tuple(install.absolute_bind(bind) for bind in args.volume),
        env=dict(install.environment_entry(entry) for entry in args.env),
        persist=args.persist,
        user=args.as_user,
        transport=args.transport,
        map=tuple(args.map),
        batch=args.batch,
        gpus=args.gpus,
        survive=args.survive,
        launcher="" if args.launcher == "local" else args.launcher,
        launcher_options=tuple(shlex.split(args.launcher_options)),
        plain=args.plain,
        shared=bool(args.sys_prefix or args.prefix),
        pull=args.pull,
    )
    place = install.kernels_directory(sys_prefix=args.sys_prefix, prefix=args.prefix)
    installed = install.install(wishes, place)
    if args.json:
        _print_json(_facts(installed))
    else:
        _report_installed(installed)
    return 0


def _facts(installed: Installed) -> dict[str, object]:
    spec, tier = installed.spec, installed.tier
    return {
        "name": spec.name,
        "display_name": spec.display_name,
        "directory": str(installed.directory),
        "image": spec.settings.image,
        "tier": tier.name,
        "command": list(spec.settings.command),
    }


def _report_installed(installed: Installed) -> None:
    spec, tier = installed.spec, installed.tier
    print(f"kernel {spec.name} installed in {installed.directory}")
    print(f"  shown as   {spec.display_name}")
    print(f"  image      {spec.settings.image}")
    print(f"  kernel     {tier.name}: {tier.about}")
    if installed.public:
        print(f"  readable   by all there: the values of {', '.join(installed.public)}")
    print(f"  try it     lpmx kernel doctor {spec.name}; jupyter console --kernel {spec.name}")


def _sync(args: argparse.Namespace) -> int:
    from lpmx_kernels import install

    place = install.kernels_directory(sys_prefix=args.sys_prefix, prefix=args.prefix)
    left_out: list[str] = []
    installed, removed = install.sync(args.patterns, place, left_out.append)
    if args.json:
        facts = [_facts(each) for each in installed]
        _print_json({"installed": facts, "removed": removed, "left_out": left_out})
        return 0
    for each in installed:
        print(f"kernel {each.spec.name}: {each.spec.settings.image}, {each.tier.name}")
    for name in removed:
        print(f"kernel {name} removed: its image is gone")
    for line in left_out:
        print(f"left out: {line}")
    return 0


def _list(args: argparse.Namespace) -> int:
    from lpmx_kernels.spec.kernelspec import installed_specs

    specs = list(installed_specs())
    if args.json:
        _print_json([spec.to_json() for spec in specs])
        return 0
    rows = [("NAME", "SHOWN AS", "IMAGE", "KERNEL", "CONTAINER", "DIRECTORY")]
    rows += [
        (s.name, s.display_name, s.image, s.tier, s.persist or "-", str(s.directory)) for s in specs
    ]
    _print_table(rows)
    return 0


def _remove(args: argparse.Namespace) -> int:
    from lpmx_kernels.spec.kernelspec import find_spec, remove_spec

    for spec in [find_spec(name) for name in args.names]:
        remove_spec(spec)
        print(f"kernel {spec.name} removed from {spec.directory}")
        if spec.persist:
            print(f"  its container {spec.persist} is kept; `lpmx rm {spec.persist}` removes it")
    return 0


def _reset(args: argparse.Namespace) -> int:
    from lpmx_kernels.spec.kernelspec import find_spec
    from lpmx_kernels.spec.settings import read_spec
    from lpmx_runtime.container import record as containers
    from lpmx_runtime.store.store import Store

    for spec in [find_spec(name) for name in args.names]:
        if not spec.persist:
            raise UsageError(
                f"kernel {spec.name}: keeps nothing, each of its kernels begins afresh",
                hint="`lpmx kernel install --persist CONTAINER` keeps what its kernels write",
            )
        store = Store.open(read_spec(spec.directory).settings.store or None)
        try:
            containers.remove(store, containers.find(store, spec.persist))
        except containers.ContainerNotFoundError:
            print(f"kernel {spec.name}: has kept nothing yet")
        else:
            print(f"kernel {spec.name}: begins afresh, container {spec.persist} is removed")
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from lpmx_kernels.doctor import Doctor
    from lpmx_kernels.spec.kernelspec import find_spec

    def show(finding: Finding) -> None:
        if not args.json:
            print(finding, flush=True)

    doctor = Doctor(find_spec(args.name), show)
    healthy = doctor.examine()
    if args.json:
        _print_json([finding.as_dict() for finding in doctor.findings])
    return 0 if healthy else 1


def _logs(args: argparse.Namespace) -> int:
    from lpmx_kernels.life.logs import list_logs
    from lpmx_kernels.spec.kernelspec import find_spec
    from lpmx_kernels.spec.settings import read_spec
    from lpmx_runtime.store.store import Store

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


def _payload(args: argparse.Namespace) -> int:
    from lpmx_runtime.store.store import Store

    store = Store.open()
    if args.action == "build":
        return _payload_build(args)
    from lpmx_kernels.image import payload

    if args.action == "remove":
        for payload_id in args.ids:
            payload.remove(store, payload_id)
        return 0
    found = payload.payloads(store)
    if args.json:
        _print_json([json.loads(each.to_json()) for each in found])
        return 0
    rows = [("ID", "PYTHON", "LIBC", "MACHINE", "IPYKERNEL")]
    rows += [
        (each.id, each.tag, f"{each.libc} >= {each.libc_version}", each.machine, each.ipykernel)
        for each in found
    ]
    _print_table(rows)
    return 0


def _payload_build(args: argparse.Namespace) -> int:
    from pathlib import Path

    from lpmx_kernels.image import payload_build, probe
    from lpmx_kernels.start import source
    from lpmx_runtime.store.store import Store

    store = Store.open()
    image = source.find_image(store, args.image)
    found, refused = probe.find_pythons(store, image, wanted=args.python)
    if not found:
        why = "; ".join(refused) or "no Python is there"
        raise NotFoundError(f"image {image.name}: no Python that starts ({why})")
    wheels = Path(args.wheels) if args.wheels else None
    if wheels and not wheels.is_dir():
        raise UsageError(f"--wheels {wheels}: is not a folder")
    wanted = payload_build.Wanted(tuple(args.packages), wheels)
    made = payload_build.build(store, image, found[0], wanted)
    if args.json:
        _print_json(json.loads(made.to_json()))
        return 0
    print(f"payload {made.id}")
    print(f"  for        {made.tag}, {made.libc} {made.libc_version} or newer, {made.machine}")
    print(f"  holds      ipykernel {made.ipykernel} and {len(made.packages) - 1} packages more")
    print(f"  next       lpmx kernel install {args.image}")
    return 0


def _launch(args: argparse.Namespace) -> int:
    from lpmx_kernels import launch

    return launch.become_kernel(args.spec, args.connection_file)


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the last one as it is."""
    rows = [[shown(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]]))


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=1))
