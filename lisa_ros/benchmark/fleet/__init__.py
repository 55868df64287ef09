# SPDX-License-Identifier: Apache-2.0
"""`lisa benchmark fleet`: a server and robots on this machine, against local models in the same run."""
