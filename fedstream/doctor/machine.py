"""The checks of one machine: the brokers and the bucket in its environment, and what the embedded platform needs."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from importlib import metadata, util
from uuid import uuid4

from fedstream.doctor.checks import Check, SkippedError
from fedstream.errors import ObjectConflict, PlatformError, SettingsError, StoreError, TopicError, install_hint
from fedstream.local.jars import jars_folder, kafka_version, locked_jars, missing
from fedstream.local.java import find_java
from fedstream.local.maven import repository, without_credentials
from fedstream.local.platform import Platform
from fedstream.local.seaweedfs import find_weed
from fedstream.settings import KafkaSettings, StoreSettings
from fedstream.store.objects import ObjectStore
from fedstream.stream.announcement import DATA_CONTROL_TOPIC
from fedstream.stream.client import admin
from fedstream.stream.reader import topic_bounds
from fedstream.text import count

CONNECT_S = 3.0
"""Seconds to wait until a broker accepts a connection; short, because a person is waiting."""

STORE_S = 5.0
"""Seconds to wait for an answer of the store."""


def local_checks(env: Mapping[str, str] | None = None) -> list[Check]:
    """Return the checks of a machine or a pod.

    Args:
        env: Environment variables with the settings; those of this process by default.
    """
    env = os.environ if env is None else env
    servers = [server.strip() for server in env.get("KAFKA_BOOTSTRAP_SERVERS", "").split(",") if server.strip()]
    kafka, store, brokers = "kafka settings", "store settings", tuple(f"kafka broker {server}" for server in servers)
    return [
        Check(kafka, lambda: look_at_kafka_settings(env)),
        *(Check(f"kafka broker {server}", partial(look_at_broker, env, server), (kafka,)) for server in servers),
        Check(
            "kafka control topic", lambda: look_at_control_topic(KafkaSettings.from_env(env)), brokers[:1] or (kafka,)
        ),
        Check(store, lambda: look_at_store_settings(env)),
        Check("store bucket", lambda: look_at_bucket(StoreSettings.from_env(env)), (store,)),
        Check(
            "store conditional puts", lambda: look_at_conditional_puts(StoreSettings.from_env(env)), ("store bucket",)
        ),
        Check("java", lambda: look_at_java(env)),
        Check("apache kafka", lambda: look_at_kafka_jars(env)),
        Check("seaweedfs", lambda: look_at_seaweedfs(env)),
        Check("tensorflow", look_at_tensorflow),
        Check("embedded platform", lambda: look_at_platform(env)),
    ]


def look_at_kafka_settings(env: Mapping[str, str]) -> str:
    """Check the variables that configure Kafka."""
    if not env.get("KAFKA_BOOTSTRAP_SERVERS"):
        raise SkippedError(
            "KAFKA_BOOTSTRAP_SERVERS is not set and the embedded platform is not running; "
            "start it with `fedstream services up`"
        )
    kafka = KafkaSettings.from_env(env)
    return f"{kafka.bootstrap_servers} as {kafka.security_protocol}{_user(kafka)}"


def look_at_store_settings(env: Mapping[str, str]) -> str:
    """Check the variables that configure the store."""
    if not env.get("S3_ENDPOINT_URL"):
        raise SkippedError(
            "S3_ENDPOINT_URL is not set and the embedded platform is not running; start it with `fedstream services up`"
        )
    store = StoreSettings.from_env(env)
    return f"bucket {store.bucket!r} at {store.endpoint_url}{f', below {store.prefix!r}' if store.prefix else ''}"


def _user(kafka: KafkaSettings) -> str:
    return f" for user {kafka.username!r}" if kafka.username else ""


def look_at_broker(env: Mapping[str, str], server: str) -> str:
    """Log in to one bootstrap server, and try the addresses that the brokers advertise to their clients."""
    if reason := unreachable(server):
        raise SettingsError(f"{reason}; check KAFKA_BOOTSTRAP_SERVERS, the firewall, and that the broker runs")
    kafka = replace(KafkaSettings.from_env(env), bootstrap_servers=server)  # one of its own servers
    with admin(kafka) as asked:
        advertised = [f"{broker['host']}:{broker['port']}" for broker in asked.describe_cluster()["brokers"]]
    if away := [reason for address in advertised if (reason := unreachable(address))]:
        raise SettingsError(
            f"it answers, but advertises an address that does not: {away[0]}; correct the broker's advertised.listeners"
        )
    return f"answers as {kafka.security_protocol}{_user(kafka)}, with {count(len(advertised), 'broker')}"


def unreachable(server: str) -> str:
    """Return why a server does not accept a connection; empty if it does."""
    host, _, port = server.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except ValueError:
        return f"{server!r} is not of the form host:port"
    except OSError as error:
        return f"{server} does not accept a connection ({error.strerror or error})"
    return ""


def look_at_control_topic(kafka: KafkaSettings) -> str:
    """Read the offsets of the topic on which data owners announce their streams."""
    try:
        bounds = topic_bounds(kafka, DATA_CONTROL_TOPIC)
    except TopicError:
        return f"{DATA_CONTROL_TOPIC} does not exist yet; the first announcement creates it"
    return f"{DATA_CONTROL_TOPIC} holds {count(sum(end - first for first, end in bounds.values()), 'message')}"


def look_at_bucket(settings: StoreSettings) -> str:
    """Check that the bucket exists, and count the runs below the prefix."""
    store = ObjectStore(settings, STORE_S)
    store.check()
    runs = {info.key.split("/")[1] for info in store.list("runs/") if info.key.endswith("/spec.json")}
    return f"{settings.bucket!r} at {settings.endpoint_url} holds {count(len(runs), 'run')}"


def look_at_conditional_puts(settings: StoreSettings) -> str:
    """Check that the store refuses to write a key twice; the ledger of a run relies on it."""
    store, key = ObjectStore(settings, STORE_S), f"doctor/{uuid4().hex}"
    try:
        store.put_new(key, b"first")
        try:
            store.put_new(key, b"second")
        except ObjectConflict:
            return "an existing key is not overwritten"
        raise StoreError(
            f"the store at {settings.endpoint_url} overwrites keys despite `If-None-Match: *`, "
            f"so two writers could destroy a run; {OTHER_STORE}"
        )
    finally:
        store.remove(key)


OTHER_STORE = (
    "use a store that honours it, such as MinIO, SeaweedFS 4 or Amazon S3, without a proxy that drops the header"
)


def look_at_java(env: Mapping[str, str]) -> str:
    """Check that Java is available for the embedded Kafka."""
    if _external_kafka(env):
        raise SkippedError("not needed, because KAFKA_BOOTSTRAP_SERVERS is set")
    java, version = find_java()
    return f"version {version}, {java}"


def look_at_kafka_jars(env: Mapping[str, str]) -> str:
    """Return where Apache Kafka's jars are, or where they will be downloaded from."""
    if _external_kafka(env):
        raise SkippedError("not needed, because KAFKA_BOOTSTRAP_SERVERS is set")
    if home := env.get("KAFKA_HOME"):
        return f"from KAFKA_HOME, {home}"
    if missing(locked_jars(), jars_folder()):
        return f"version {kafka_version()} will be downloaded on first use from {without_credentials(repository())}"
    return f"version {kafka_version()}, {jars_folder()}"


def look_at_seaweedfs(env: Mapping[str, str]) -> str:
    """Check that SeaweedFS, the embedded store, is available."""
    if Platform(environ=env).external_store:
        raise SkippedError("not needed, because S3_ENDPOINT_URL is set")
    return find_weed()


def look_at_tensorflow() -> str:
    """Check that TensorFlow is installed without importing it, which takes seconds."""
    if util.find_spec("tensorflow") is None:
        raise PlatformError(
            f"TensorFlow is not installed, but training needs it; {install_hint('train')}, or train on a cluster"
        )
    try:
        return f"version {metadata.version('tensorflow')}"
    except metadata.PackageNotFoundError:
        return "installed"


def look_at_platform(env: Mapping[str, str]) -> str:
    """Check whether the embedded servers are running."""
    platform = Platform(environ=env)
    if platform.external_kafka and platform.external_store:
        raise SkippedError("not needed, because the environment configures a broker and a store")
    services = platform.status()
    if broken := [
        f"{service.title} is running but does not work ({service.problem})" for service in services if service.problem
    ]:
        raise PlatformError(f"{'; '.join(broken)}; restart it with `fedstream services up`")
    down = [service.title for service in services if not service.running]
    if down:
        raise SkippedError(
            f"{' and '.join(down)} not running; start it with `fedstream services up` or `fedstream demo`"
        )
    return f"running, with its data in {platform.state_dir}"


def _external_kafka(env: Mapping[str, str]) -> bool:
    return Platform(environ=env).external_kafka
