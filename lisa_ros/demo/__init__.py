# SPDX-License-Identifier: Apache-2.0
"""The demo (`make demo`): a simulated camera, the node and two operators, each a process or a node of its own.

`__main__` has the options and the order of the steps, `script` the commands, `scene` the true masks, `processes` starts
and ends the nodes, `operators` sends the commands, `report` writes the results.
"""
