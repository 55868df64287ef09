# SPDX-License-Identifier: Apache-2.0
"""What `lisa convert` does for every model: plans files, writes them, resumes."""
