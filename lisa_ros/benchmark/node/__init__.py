# SPDX-License-Identifier: Apache-2.0
"""What `lisa benchmark node` measures: lisa_node as its users run it, beside a simulated camera, over DDS.

`run` has the order of the parts, `asking` the operators' side. `flood`, `added_time`, `idling` and `restarting` have
one measurement each and define it. `processor` reads /proc, `bars` has the bars.
"""
