# SPDX-License-Identifier: Apache-2.0
"""`lisa chat`: a dialogue in the terminal, about image files, a camera, or with a running node."""
