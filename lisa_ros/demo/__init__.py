# SPDX-License-Identifier: Apache-2.0
"""The demo (`make demo`): a simulated camera, the node and two operators, each a process or a node of its own.

`__main__` holds the options and the order of things, `script` what is said, `scene` what is true, `processes` starts
and ends the nodes, `operators` talks to them, `report` shows what came of it.
"""
