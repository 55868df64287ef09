# SPDX-License-Identifier: Apache-2.0
"""Writes rights as a policy file of SROS2 (policy.xsd, version 0.2.0)."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree

from lisa_ros.nodes.access.rights import Rights

VERSION = "0.2.0"
_RULES = (
    ("topics", "topic", "publish"),
    ("topics", "topic", "subscribe"),
    ("services", "service", "reply"),
    ("services", "service", "request"),
    ("actions", "action", "execute"),
    ("actions", "action", "call"),
)


def policy_of(rights: Iterable[Rights]) -> str:
    """The text of the policy file. What it does not allow is denied."""
    policy = ElementTree.Element("policy", version=VERSION)
    enclaves = ElementTree.SubElement(policy, "enclaves")
    for one in rights:
        enclave = ElementTree.SubElement(enclaves, "enclave", path=one.enclave)
        profiles = ElementTree.SubElement(enclave, "profiles")
        profile = ElementTree.SubElement(profiles, "profile", ns=one.namespace, node=one.node)
        for group, single, verb in _RULES:
            _add(profile, group, single, verb, getattr(one, verb))
    ElementTree.indent(policy)
    return ElementTree.tostring(policy, encoding="unicode", xml_declaration=True) + "\n"


def _add(profile: ElementTree.Element, group: str, single: str, verb: str, names: frozenset[str]) -> None:
    if names:
        rule = ElementTree.SubElement(profile, group, {verb: "ALLOW"})
        for name in sorted(names):
            ElementTree.SubElement(rule, single).text = name
