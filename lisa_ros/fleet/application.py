# SPDX-License-Identifier: Apache-2.0
"""The Ray Serve application: `lisa serve`, or `serve deploy config/fleet.yaml` on a cluster."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

# Ray reports usage to its makers unless this is 0; it is read when ray is imported. Nothing leaves the machine.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray gives its workers niceness 15, and so the model less than everything else on the machine.
os.environ.setdefault("RAY_worker_niceness", "0")

import ray
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, HTTPOptions, RequestRouterConfig
from ray.serve.schema import LoggingConfig, TracingConfig

from lisa_ros.fleet.access import Quota, read_tokens
from lisa_ros.fleet.frame_router import FrameRouter
from lisa_ros.fleet.ingress import Ingress
from lisa_ros.fleet.replica import Replica
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.segmentation.errors import LisaError

OBJECT_STORE_BYTES = 200 * 2**20
"""Shared memory of Ray on this machine. Requests and answers are small and do not stay in it."""
TAKEN_BY_GPU, TAKEN_BY_CPU = 4, 8
"""Commands that a replica has at the same time, unless the settings say how many."""
DRAIN_S = 30.0
"""How long a replica that is stopped may finish its answers."""


@dataclass(frozen=True)
class ServerSettings:
    """What is served, and how.

    Attributes:
        checkpoint: folder or Hugging Face id; empty: the embedded model.
        load: how a replica loads it.
        replicas: of the model; with most_replicas, the fewest.
        most_replicas: more are started when the queue is long; 0: as many as `replicas`.
        gpus: for each replica; may be a fraction.
        concurrent: commands that a replica has at the same time; 0: TAKEN_BY_GPU or TAKEN_BY_CPU.
        queue: commands that wait for a replica; more are refused.
        frames: encoded images that a replica keeps. One of LISA-7B takes about 35 MB.
        tokens: file of lines `ROBOT TOKEN`; empty: anybody who reaches the port may ask.
        requests_per_minute, robot_concurrent: quota of each robot; see Quota.
    """

    checkpoint: str = ""
    load: LoadOptions = field(default_factory=lambda: LoadOptions(threads=1))
    replicas: int = 1
    most_replicas: int = 0
    gpus: float = 0.0
    concurrent: int = 0
    queue: int = 64
    frames: int = 32
    tokens: str = ""
    requests_per_minute: float = 0.0
    robot_concurrent: int = 8

    @property
    def taken(self) -> int:
        """Commands that a replica has at the same time."""
        return self.concurrent or (TAKEN_BY_GPU if self.gpus else TAKEN_BY_CPU)

    @property
    def computed(self) -> int:
        """Of those, the ones that it computes at the same time.

        On a GPU they share most of the work. On a CPU they would share little, and each answer would take as long as
        all of them.
        """
        return self.taken if self.gpus else 1


def build(arguments: dict[str, Any]) -> Application:
    """The application of a Serve config file (`import_path: lisa_ros.fleet.application:build`).

    Args:
        arguments: attributes of ServerSettings and of LoadOptions.

    Raises:
        LisaError: one of them is not known, or the tokens cannot be read.
    """
    ours, loading = ({one.name for one in fields(kind)} for kind in (ServerSettings, LoadOptions))
    if unknown := sorted(set(arguments) - ours - loading):
        raise LisaError(f"not known: {', '.join(unknown)}; there is {', '.join(sorted(ours | loading))}")
    load = LoadOptions(**{"threads": 1} | {name: value for name, value in arguments.items() if name in loading})
    return application(ServerSettings(load=load, **{n: v for n, v in arguments.items() if n in ours}))


def application(settings: ServerSettings) -> Application:
    """The model's replicas behind one ingress."""
    tokens = read_tokens(Path(settings.tokens)) if settings.tokens else {}
    quota = Quota(settings.requests_per_minute, settings.robot_concurrent)
    # Ray's annotations leave out what a call with a class returns.
    deployment: Any = serve.deployment
    replicas = deployment(
        Replica,
        name="model",
        max_ongoing_requests=settings.taken,
        max_queued_requests=settings.queue,
        graceful_shutdown_timeout_s=DRAIN_S,
        request_router_config=RequestRouterConfig(request_router_class=cast(Any, FrameRouter)),
        ray_actor_options={"num_cpus": 1, "num_gpus": settings.gpus},
        **_scaling(settings),
    ).bind(
        settings.checkpoint or str(embedded_checkpoint()),
        settings.load,
        settings.taken,
        settings.computed,
        settings.frames,
    )
    ingress = deployment(Ingress, name="ingress", max_ongoing_requests=1024, ray_actor_options={"num_cpus": 0})
    bound: Application = ingress.bind(replicas, tokens, quota)
    return bound


def _scaling(settings: ServerSettings) -> dict[str, Any]:
    if settings.most_replicas <= settings.replicas:
        return {"num_replicas": settings.replicas}
    return {
        "autoscaling_config": AutoscalingConfig(
            min_replicas=settings.replicas,
            max_replicas=settings.most_replicas,
            target_ongoing_requests=max(1.0, min(settings.taken / 2, settings.computed + 1)),
        )
    }


@dataclass(frozen=True)
class Listening:
    """Where the server listens.

    Attributes:
        host, port: of HTTP.
        prefix: of the paths, such as "/tabletop".
        tls_cert, tls_key: certificate and private key, files in PEM form; empty: HTTP without TLS.
        log_format: of Serve's logs: "text", or "json" with the fields `command_id`, `robot` and `ended`.
        traces: share of the requests whose OpenTelemetry spans are written, 0 to 1.
        metrics_port: of Ray's metrics for Prometheus, on this machine's addresses; 0: Ray takes a free one.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    prefix: str = "/lisa"
    tls_cert: str = ""
    tls_key: str = ""
    log_format: str = "text"
    traces: float = 0.0
    metrics_port: int = 0


def start(settings: ServerSettings, at: Listening, cluster: str = "") -> None:
    """Starts the server and returns when it answers.

    Args:
        settings: what is served.
        at: where it listens.
        cluster: address of a Ray cluster; empty: Ray runs on this machine, for this process alone.

    Raises:
        LisaError: Ray does not start, or there is no such cluster.
    """
    _start_ray(settings, at, cluster)
    options = HTTPOptions(
        host=at.host,
        port=at.port,
        ssl_certfile=at.tls_cert or None,
        ssl_keyfile=at.tls_key or None,
    )
    logs = LoggingConfig(encoding=at.log_format.upper())
    serve.start(
        http_options=options,
        logging_config=logs,
        tracing_config=TracingConfig(enabled=at.traces > 0, sampling_ratio=at.traces),
    )
    serve.run(application(settings), name=at.prefix.strip("/"), route_prefix=at.prefix, logging_config=logs)


def _start_ray(settings: ServerSettings, at: Listening, cluster: str) -> None:
    cores = max(os.cpu_count() or 1, settings.most_replicas, settings.replicas)
    own = {
        "num_cpus": cores,
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
        "_metrics_export_port": at.metrics_port or None,
    }
    options: dict[str, Any] = {"address": cluster} if cluster else own
    try:
        ray.init(**options)
    except Exception as error:  # Ray raises bare ones, for example on a machine that is too busy
        what = f"The Ray cluster {cluster} cannot be used" if cluster else "Ray could not start"
        raise LisaError(f"{what}: {' '.join(str(error).split())}") from error


def wait() -> None:
    """Returns at Ctrl-C, after running answers have ended."""
    try:
        while True:
            time.sleep(3600)
    finally:
        cast(Any, serve).shutdown()
        cast(Any, ray).shutdown()
