# SPDX-License-Identifier: Apache-2.0
"""`python -m lisa_ros.cli`: the `lisa` command."""

from lisa_ros.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
