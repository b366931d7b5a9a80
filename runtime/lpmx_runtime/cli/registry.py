"""The options that commands for registries share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["add_authfile", "add_connection", "add_registry", "checks_certificates"]


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


def checks_certificates(args: argparse.Namespace) -> bool:
    """Did the user leave the check of certificates on?"""
    return bool(args.tls_verify == "true")
