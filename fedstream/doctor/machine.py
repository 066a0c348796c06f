"""A doctor's checks of what the environment names: brokers, bucket, and what this machine needs to run all of it itself."""

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
"""Seconds a broker may take to accept a connection: a person waits."""

STORE_S = 5.0
"""Seconds the store may take to answer."""


def local_checks(env: Mapping[str, str] | None = None) -> list[Check]:
    """Return the checks of one machine, or of a pod.

    Args:
        env: where the settings are; this process' environment by default.
    """
    env = os.environ if env is None else env
    servers = [server.strip() for server in env.get("KAFKA_BOOTSTRAP_SERVERS", "").split(",") if server.strip()]
    kafka, store, brokers = "kafka settings", "store settings", tuple(f"kafka broker {server}" for server in servers)
    return [
        Check(kafka, lambda: look_at_kafka_settings(env)),
        *(Check(f"kafka broker {server}", partial(look_at_broker, env, server), (kafka,)) for server in servers),
        Check("kafka control topic", lambda: look_at_control_topic(KafkaSettings.from_env(env)), brokers[:1] or (kafka,)),
        Check(store, lambda: look_at_store_settings(env)),
        Check("store bucket", lambda: look_at_bucket(StoreSettings.from_env(env)), (store,)),
        Check("store conditional puts", lambda: look_at_conditional_puts(StoreSettings.from_env(env)), ("store bucket",)),
        Check("java", lambda: look_at_java(env)),
        Check("apache kafka", lambda: look_at_kafka_jars(env)),
        Check("seaweedfs", lambda: look_at_seaweedfs(env)),
        Check("tensorflow", look_at_tensorflow),
        Check("embedded platform", lambda: look_at_platform(env)),
    ]


def look_at_kafka_settings(env: Mapping[str, str]) -> str:
    """Read the variables that name the brokers."""
    if not env.get("KAFKA_BOOTSTRAP_SERVERS"):
        raise SkippedError("KAFKA_BOOTSTRAP_SERVERS is not set and the embedded platform does not run; `fedstream services up` starts it")
    kafka = KafkaSettings.from_env(env)
    return f"{kafka.bootstrap_servers} as {kafka.security_protocol}{_user(kafka)}"


def look_at_store_settings(env: Mapping[str, str]) -> str:
    """Read the variables that name the store."""
    if not env.get("S3_ENDPOINT_URL"):
        raise SkippedError("S3_ENDPOINT_URL is not set and the embedded platform does not run; `fedstream services up` starts it")
    store = StoreSettings.from_env(env)
    return f"bucket {store.bucket!r} at {store.endpoint_url}{f', below {store.prefix!r}' if store.prefix else ''}"


def _user(kafka: KafkaSettings) -> str:
    return f" for user {kafka.username!r}" if kafka.username else ""


def look_at_broker(env: Mapping[str, str], server: str) -> str:
    """Log in to one bootstrap server, and try the addresses that the brokers tell their clients to use."""
    if reason := unreachable(server):
        raise SettingsError(f"{reason}; check KAFKA_BOOTSTRAP_SERVERS, the firewall, and that the broker runs")
    kafka = replace(KafkaSettings.from_env(env), bootstrap_servers=server)  # one of its own servers
    with admin(kafka) as asked:
        advertised = [f"{broker['host']}:{broker['port']}" for broker in asked.describe_cluster()["brokers"]]
    if away := [reason for address in advertised if (reason := unreachable(address))]:
        raise SettingsError(f"it answers, but sends its clients on to an address that does not: {away[0]}; set the broker's advertised.listeners")
    return f"answers as {kafka.security_protocol}{_user(kafka)}, with {count(len(advertised), 'broker')}"


def unreachable(server: str) -> str:
    """Return why a server does not accept a connection; empty if it does."""
    host, _, port = server.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except ValueError:
        return f"{server!r} is no host:port"
    except OSError as error:
        return f"{server} does not accept a connection ({error.strerror or error})"
    return ""


def look_at_control_topic(kafka: KafkaSettings) -> str:
    """Read the bounds of the topic on which data owners announce their streams."""
    try:
        bounds = topic_bounds(kafka, DATA_CONTROL_TOPIC)
    except TopicError:
        return f"{DATA_CONTROL_TOPIC} is not there yet: the first announcement makes it"
    return f"{DATA_CONTROL_TOPIC} holds {count(sum(end - first for first, end in bounds.values()), 'message')}"


def look_at_bucket(settings: StoreSettings) -> str:
    """Ask for the bucket, and list what is in it below the prefix."""
    store = ObjectStore(settings, STORE_S)
    store.check()
    runs = {info.key.split("/")[1] for info in store.list("runs/") if info.key.endswith("/spec.json")}
    return f"{settings.bucket!r} at {settings.endpoint_url} holds {count(len(runs), 'run')}"


def look_at_conditional_puts(settings: StoreSettings) -> str:
    """Write a key twice, which must be refused: a run's records count on it."""
    store, key = ObjectStore(settings, STORE_S), f"doctor/{uuid4().hex}"
    try:
        store.put_new(key, b"first")
        try:
            store.put_new(key, b"second")
        except ObjectConflict:
            return "a key that exists is not overwritten"
        raise StoreError(
            f"the store at {settings.endpoint_url} overwrites in spite of `If-None-Match: *`, so that two writers could destroy a run; {OTHER_STORE}"
        )
    finally:
        store.remove(key)


OTHER_STORE = "use one that honours it, such as MinIO, SeaweedFS 4 or Amazon S3, and no proxy that drops the header"


def look_at_java(env: Mapping[str, str]) -> str:
    """Find Java, for the embedded Kafka."""
    if _external_kafka(env):
        raise SkippedError("not needed: KAFKA_BOOTSTRAP_SERVERS names a broker")
    java, version = find_java()
    return f"version {version}, {java}"


def look_at_kafka_jars(env: Mapping[str, str]) -> str:
    """Find Apache Kafka's jars, or where they will come from."""
    if _external_kafka(env):
        raise SkippedError("not needed: KAFKA_BOOTSTRAP_SERVERS names a broker")
    if home := env.get("KAFKA_HOME"):
        return f"of KAFKA_HOME, {home}"
    if missing(locked_jars(), jars_folder()):
        return f"version {kafka_version()} will be fetched on first use, from {without_credentials(repository())}"
    return f"version {kafka_version()}, {jars_folder()}"


def look_at_seaweedfs(env: Mapping[str, str]) -> str:
    """Find SeaweedFS, the embedded store."""
    if Platform(environ=env).external_store:
        raise SkippedError("not needed: S3_ENDPOINT_URL names a store")
    return find_weed()


def look_at_tensorflow() -> str:
    """Find TensorFlow without importing it, which takes seconds."""
    if util.find_spec("tensorflow") is None:
        raise PlatformError(f"TensorFlow is not installed, and training needs it; {install_hint('train')}, or let a cluster train")
    try:
        return f"version {metadata.version('tensorflow')}"
    except metadata.PackageNotFoundError:
        return "installed"


def look_at_platform(env: Mapping[str, str]) -> str:
    """Say whether the embedded servers run."""
    platform = Platform(environ=env)
    if platform.external_kafka and platform.external_store:
        raise SkippedError("not needed: the environment names a broker and a store")
    services = platform.status()
    if broken := [f"{service.title} runs and does not work ({service.problem})" for service in services if service.problem]:
        raise PlatformError(f"{'; '.join(broken)}; `fedstream services up` starts it again")
    down = [service.title for service in services if not service.running]
    if down:
        raise SkippedError(f"{' and '.join(down)} not running; `fedstream services up` and `fedstream demo` start it")
    return f"runs, with its data in {platform.state_dir}"


def _external_kafka(env: Mapping[str, str]) -> bool:
    return Platform(environ=env).external_kafka
