# SPDX-License-Identifier: Apache-2.0
"""The console as a web server: who may connect, how many, and what is served."""
