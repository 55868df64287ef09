# SPDX-License-Identifier: Apache-2.0
"""`lisa convert` for every model: plans the files, writes them, resumes after an interruption."""
