# SPDX-License-Identifier: Apache-2.0
"""`lisa policy`: writes access rules for SROS2 from the nodes that run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lisa_ros.cli.options import ros_name
from lisa_ros.segmentation.files.arguments import seconds


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("policy", help="write a policy file for SROS2 from the nodes that run")
    parser.add_argument(
        "--node", type=ros_name, default="/lisa", help="the LISA node's full name (default: %(default)s)"
    )
    parser.add_argument(
        "--console", type=ros_name, default="/console", help="the console's full name (default: %(default)s)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("lisa.policy.xml"), help="file to write (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=seconds, default=10.0, help="how long to wait for the nodes, s (default: %(default)s)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    from lisa_ros.nodes.access.graph import read_rights
    from lisa_ros.nodes.access.policy import policy_of
    from lisa_ros.nodes.access.rights import rights_of_all
    from lisa_ros.segmentation.files.atomic_files import write_text
    from lisa_ros.segmentation.files.output_folders import check_output_file, make_output_folder

    check_output_file(options.output)  # before the wait for the nodes
    lisa, console = read_rights(options.node, options.console, options.seconds)
    everybody = rights_of_all(lisa, console)
    make_output_folder(options.output.parent)
    write_text(options.output, policy_of(everybody))
    print(f"{options.output} written; its enclaves:")
    for one in everybody:
        print(f"  {one.enclave}")
    if console is None:
        print(f"  none for a console: there is no node {options.console}")
    return 0
