"""`lpmx galaxy`: write what a Galaxy needs to run its tools here, check it, fetch its images."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

HELP = "set up Galaxy and other workflow systems"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands below `lpmx galaxy`."""
    from lpmx_galaxy.site.files import RUNNERS

    commands = parser.add_subparsers(dest="galaxy_command", metavar="COMMAND", required=True)
    init = commands.add_parser("init", help="write programs, job_conf, resolvers and TPV rules")
    init.add_argument("folder", metavar="DIR", help="where to write them")
    init.add_argument("--runner", choices=sorted(RUNNERS), default="local", help="Galaxy's runner")
    init.add_argument(
        "--supply", metavar="DIR", action="append", default=[], help="folder of image archives"
    )
    init.add_argument("--cache", metavar="DIR", default="", help="Galaxy's folder of SIF images")
    init.add_argument("--force", action="store_true", help="replace what is there")
    check = commands.add_parser("check", help="run a tool as Galaxy would, and say what is missing")
    check.add_argument("folder", metavar="DIR", help="the folder that `init` wrote")
    check.add_argument("image", metavar="IMAGE", help="an image that tools use")
    check.add_argument(
        "--conf", metavar="FILE", action="append", default=[],
        help="your own job_conf.yml, container resolvers or TPV file instead of DIR's",
    )  # fmt: skip
    check.add_argument("--json", action="store_true", help="print JSON")
    prefetch = commands.add_parser("prefetch", help="bring in the images of tools")
    prefetch.add_argument(
        "tools", metavar="TOOL_CONF.xml|TOOL.xml", nargs="+", help="tool lists or tools"
    )
    prefetch.add_argument("--tool-path", metavar="DIR", default="", help="as in galaxy.yml")
    prefetch.add_argument(
        "--cache", metavar="DIR", default="", help="also write files that stand for them, here"
    )
    prefetch.add_argument("-n", "--dry-run", action="store_true", help="only list them")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    if args.galaxy_command == "init":
        return _init(args)
    if args.galaxy_command == "check":
        return _check(args)
    return _prefetch(args)


def _init(args: argparse.Namespace) -> int:
    from lpmx_galaxy.site.files import Site, write

    site = Site.here(args.folder, runner=args.runner, supply=args.supply, cache=args.cache)
    for path in write(site, force=args.force):
        print(path)
    print(site.advice())
    return 0


def _check(args: argparse.Namespace) -> int:
    from lpmx_galaxy.site.check import examine
    from lpmx_runtime.doctor.finding import worst

    found = []
    for finding in examine(args.folder, args.image, args.conf):
        found.append(finding)
        if not args.json:
            print(finding, flush=True)
    if args.json:
        print(json.dumps([finding.as_dict() for finding in found], indent=2))
    return 0 if worst(found) != "problem" else 1


def _prefetch(args: argparse.Namespace) -> int:
    from lpmx_galaxy.site.prefetch import fetch, wanted

    needs = wanted(args.tools, tool_path=args.tool_path)
    if args.dry_run:
        for need in needs:
            print(f"{need.name}  ({', '.join(need.tools)})")
        return 0
    missing = 0
    for need, problem in fetch(needs, cache=args.cache):
        print(f"{need.name}: {problem or 'here'}", flush=True)
        missing += bool(problem)
    return 1 if missing else 0
