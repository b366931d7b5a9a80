"""The options that commands for registries share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpmx_runtime.config.values import JOBS
from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    import argparse

__all__ = [
    "add_authfile",
    "add_connection",
    "add_jobs",
    "add_registry",
    "checks_certificates",
    "jobs_of",
]


def add_registry(parser: argparse.ArgumentParser) -> None:
    """The registry itself, Docker Hub if none is named."""
    parser.add_argument(
        "registry",
        nargs="?",
        default="docker.io",
        metavar="REGISTRY",
        help="HOST[:PORT]; docker.io",
    )


def add_authfile(parser: argparse.ArgumentParser, meaning: str) -> None:
    """A file of credentials instead of the usual ones."""
    parser.add_argument("--authfile", default="", metavar="FILE", help=meaning)


def add_connection(parser: argparse.ArgumentParser) -> None:
    """How to connect."""
    parser.add_argument(
        "--plain-http", action="store_true", help="the registry speaks http without TLS"
    )
    parser.add_argument(
        "--tls-verify", default="true", choices=("true", "false"), help="look at certificates"
    )


def add_jobs(parser: argparse.ArgumentParser, what: str) -> None:
    """How many of @what cross the line at a time."""
    parser.add_argument(
        "--jobs", type=int, metavar="N", help=f"{what} at a time (default {JOBS}, or config.yaml's)"
    )


def jobs_of(args: argparse.Namespace) -> int:
    """What the user said of that, 0 for nothing. UsageError: less than 1."""
    if args.jobs is not None and args.jobs < 1:
        raise UsageError(f"--jobs {args.jobs}: at least 1")
    return args.jobs or 0


def checks_certificates(args: argparse.Namespace) -> bool:
    """Did the user leave the check of certificates on?"""
    return bool(args.tls_verify == "true")
