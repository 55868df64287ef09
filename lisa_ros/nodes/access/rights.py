# SPDX-License-Identifier: Apache-2.0
"""What each enclave of a system may do, derived from the names of the running nodes' topics, services and actions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

_PARAMETER_SERVICES = (
    *("describe_parameters", "get_parameter_types", "get_parameters", "get_type_description", "list_parameters"),
    *("set_parameters", "set_parameters_atomically"),
)


@dataclass(frozen=True)
class Rights:
    """What the nodes of one enclave may do. All names are absolute; `*` stands for any characters.

    Attributes:
        enclave: its path.
        namespace, node: of the node that runs in it.
        publish, subscribe: topics.
        reply, request: services that it offers, and that it calls.
        execute, call: actions that it offers, and that it calls.
    """

    enclave: str
    namespace: str
    node: str
    publish: frozenset[str] = field(default=frozenset())
    subscribe: frozenset[str] = field(default=frozenset())
    reply: frozenset[str] = field(default=frozenset())
    request: frozenset[str] = field(default=frozenset())
    execute: frozenset[str] = field(default=frozenset())
    call: frozenset[str] = field(default=frozenset())

    @property
    def name(self) -> str:
        """The node's full name."""
        return f"{self.namespace.rstrip('/')}/{self.node}"


def everybody(rights: Rights) -> Rights:
    """The rights, with those that rclpy needs for any node: its log, its parameters, the clock."""
    return replace(
        rights,
        publish=rights.publish | {"/rosout", "/parameter_events"},
        subscribe=rights.subscribe | {"/parameter_events", "/clock"},
        reply=rights.reply | {f"{rights.name}/{service}" for service in _PARAMETER_SERVICES},
    )


def console_rights(console: Rights, lisa: Rights) -> Rights:
    """A console's rights: what it uses now, and what it subscribes to only while a page is open."""
    own = {f"{lisa.name}/segmentation", *(topic for topic in lisa.publish if f"{lisa.name}/frame/image" in topic)}
    heard = {topic.removesuffix("/audio") + "/heard" for topic in console.publish if topic.endswith("/audio")}
    cameras = {topic for topic in lisa.subscribe if not topic.startswith(f"{lisa.name}/")}
    return everybody(replace(console, subscribe=console.subscribe | own | heard | cameras))


def planner_rights(lisa: Rights) -> Rights:
    """A planner's rights: it sends commands as any operator and reads all answers; it has no right to the dialogues."""
    outputs = {topic for topic in lisa.publish if _is_output(topic, lisa)}
    commands = {topic for topic in lisa.subscribe if topic in (f"{lisa.name}/command", f"{lisa.name}/command_text")}
    return everybody(
        Rights(
            f"{lisa.enclave}/planner",
            "/",
            "lisa_client_*",  # the node of lisa_ros.client: a planner's own node needs its name here
            publish=frozenset(commands),
            subscribe=frozenset(outputs) | {"/diagnostics"},
            call=lisa.execute,
        )
    )


def operator_rights(operator: str, lisa: Rights) -> Rights:
    """An operator's rights: their own two topics."""
    own = f"{lisa.name}/operators/{operator}"
    return everybody(
        Rights(
            f"{lisa.enclave}/operators/{operator}",
            "/",
            f"operator_{operator}",
            publish=frozenset({f"{own}/command"}),
            subscribe=frozenset({f"{own}/answer"}),
        )
    )


def operators_of(lisa: Rights) -> tuple[str, ...]:
    """The operators with topics of their own (parameter `operators`)."""
    before, after = f"{lisa.name}/operators/", "/command"
    found = (topic for topic in lisa.subscribe if topic.startswith(before) and topic.endswith(after))
    return tuple(sorted(topic.removeprefix(before).removesuffix(after) for topic in found))


def rights_of_all(lisa: Rights, console: Rights | None = None) -> list[Rights]:
    """Everybody's rights: the node's, a planner's, each operator's, and the console's where there is one."""
    found = [everybody(lisa), planner_rights(lisa), *(operator_rights(one, lisa) for one in operators_of(lisa))]
    return [*found, console_rights(console, lisa)] if console else found


def _is_output(topic: str, lisa: Rights) -> bool:
    own: Iterable[str] = (f"{lisa.name}/operators/", f"{lisa.name}/transition_event")
    return topic.startswith(f"{lisa.name}/") and not topic.startswith(tuple(own))
