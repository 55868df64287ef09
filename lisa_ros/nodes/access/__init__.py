# SPDX-License-Identifier: Apache-2.0
"""Access rules for SROS2: who may use which topics, services and actions of a running system."""
