# SPDX-License-Identifier: Apache-2.0
"""What `lisa benchmark node` measures: lisa_node as its users run it, beside a simulated camera, over DDS.

`run` holds the order of things, `asking` is the operators' side, `flood`, `added_time`, `idling` and `restarting` have
one measurement each, with what exactly it means, `processor` reads /proc, `bars` says what is wanted.
"""
