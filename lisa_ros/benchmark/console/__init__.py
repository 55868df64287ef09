# SPDX-License-Identifier: Apache-2.0
"""`lisa benchmark console`: what pages with live images cost."""
