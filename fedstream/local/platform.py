"""The platform of Kafka and the S3 store, each embedded or external. Knows nothing of runs, models or rounds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType

from fedstream.errors import PlatformError, SettingsError
from fedstream.local import process
from fedstream.local.kafka import KafkaServer
from fedstream.local.paths import default_state_dir
from fedstream.local.seaweedfs import SeaweedServer
from fedstream.local.secure_kafka import SecureKafkaServer
from fedstream.local.service import Service
from fedstream.local.status import ServiceStatus
from fedstream.privacy.secret import FILE_VARIABLE, secret_file
from fedstream.settings import KafkaSettings, StoreSettings

LOCK_S = 900.0
"""Seconds to wait for another process, which can be downloading Apache Kafka for the first time."""
KAFKA_VARIABLES = (
    "BOOTSTRAP_SERVERS",
    "SECURITY_PROTOCOL",
    "SASL_MECHANISM",
    "USERNAME",
    "PASSWORD",
    "CA_FILE",
    "CERT_FILE",
    "KEY_FILE",
    "CREDENTIALS_FILE",
    "OAUTH_URL",
    "OAUTH_SCOPE",
)
STORE_VARIABLES = (
    "S3_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "S3_BUCKET",
    "S3_PREFIX",
    "S3_REGION",
)


class Platform:
    """Apache Kafka and SeaweedFS on this machine, with their data in one folder.

    As a context manager, it stops the servers that it started when the block or this process ends. With `start`, the
    servers run until `stop`. If the environment configures a server (KAFKA_BOOTSTRAP_SERVERS, S3_ENDPOINT_URL), that
    server is used and nothing is started for it.

    Args:
        state_dir: Folder of data, logs and process records; the user's own by default.
        environ: Environment variables that can configure external servers; those of this process by default.
        say: Called with a line for each event.
        secure: Whether Kafka uses TLS, logins and access rights. It then has data of its own. By default, the one that
            is running is used, or otherwise the one without.
        owners: Data owners for whom users of the secured Kafka are added.

    Example:
        >>> with Platform(Path("/var/tmp/fedstream-example")) as platform:  # doctest: +SKIP
        ...     print(platform.env["KAFKA_BOOTSTRAP_SERVERS"])
        127.0.0.1:15873
    """

    def __init__(
        self,
        state_dir: Path | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda _: None,
        secure: bool = False,
        owners: Sequence[str] = (),
    ) -> None:
        self.state_dir = (state_dir or default_state_dir()).absolute()
        self.say = say
        plain = KafkaServer(self.state_dir / "kafka", bound=False, say=say)
        secured = SecureKafkaServer(self.state_dir / "kafka-secure", bound=False, say=say, owners=owners)
        self._other = plain if secure else None
        self.kafka = secured if secure or (secured.running and not plain.running) else plain
        self.seaweedfs = SeaweedServer(self.state_dir / "seaweedfs", bound=False, say=say)
        self._environ = dict(os.environ if environ is None else environ)
        # Variables printed by `fedstream services env` point to the embedded servers, even while these are down.
        servers, endpoint = (
            self._environ.get("KAFKA_BOOTSTRAP_SERVERS", ""),
            self._environ.get("S3_ENDPOINT_URL", "").rstrip("/"),
        )
        self.external_kafka = bool(servers) and servers not in (plain.address, secured.address)
        self.external_store = bool(endpoint) and endpoint != f"http://{self.seaweedfs.address}"

    @property
    def kafka_settings(self) -> KafkaSettings:
        """How to reach Kafka, embedded or external."""
        return KafkaSettings.from_env(self._environ) if self.external_kafka else self.kafka.settings

    @property
    def store_settings(self) -> StoreSettings:
        """How to reach the S3 store, embedded or external."""
        return StoreSettings.from_env(self._environ) if self.external_store else self.seaweedfs.settings

    @property
    def env(self) -> dict[str, str]:
        """The environment variables that point fedstream to this platform.

        Raises:
            PlatformError: An embedded server is not running.
        """
        down = [part.title for part in self._embedded() if not part.running]
        if down:
            raise PlatformError(
                f"{' and '.join(down)} {'is' if len(down) == 1 else 'are'} not running; "
                "start the embedded platform with `fedstream services up`"
            )
        if self.external_kafka:
            names = [f"KAFKA_{name}" for name in KAFKA_VARIABLES]
            kafka = {name: self._environ[name] for name in names if self._environ.get(name)}
        else:
            kafka = _variables(self.kafka.settings)
        if self.external_store:
            return kafka | {name: self._environ[name] for name in STORE_VARIABLES if self._environ.get(name)}
        noise = self._environ.get(FILE_VARIABLE) or str(secret_file(self.state_dir))
        store = self.store_settings
        values = (store.endpoint_url, store.access_key, store.secret_key, store.bucket)
        return kafka | dict(zip(STORE_VARIABLES, values, strict=False)) | {FILE_VARIABLE: noise}

    def env_of(self, user: str) -> dict[str, str]:
        """Return the environment variables with which a user reaches the secured Kafka.

        Raises:
            PlatformError: The secured Kafka is not running.
            UsageError: It has no such user.
        """
        if not isinstance(self.kafka, SecureKafkaServer) or not self.kafka.running:
            raise PlatformError("the secured Kafka is not running; start it with `fedstream services up --secure`")
        return _variables(self.kafka.user(user))

    def start(self, *, bound: bool = False) -> None:
        """Start the servers that are neither external nor running in parallel, and wait until they work.

        Args:
            bound: Whether the servers end with this process.

        Raises:
            PlatformError: A server cannot be started; the servers started by this call have been stopped again.
        """
        if self._other and self._other.running:
            raise PlatformError(
                "the embedded Kafka is running without TLS and logins; stop it with `fedstream services down`, "
                "then start the secured one, which has data of its own"
            )
        with self._lock():
            parts = self._embedded()
            try:
                for part in parts:
                    part.bound = bound
                    part.begin()
                for part in parts:
                    part.finish()
            except BaseException:
                self._stop(self.own)
                raise

    def stop(self) -> None:
        """Stop the embedded servers, regardless of who started them, and wait until they have ended."""
        if self.state_dir.is_dir():
            with self._lock():
                self._stop((self.kafka, self.seaweedfs))

    @property
    def own(self) -> list[Service]:
        """The servers that this object has started and that have not been stopped since."""
        return [part for part in (self.kafka, self.seaweedfs) if part.launched]

    def stop_own(self) -> None:
        """Stop the servers that this object has started; other servers keep running."""
        if self.own:
            with self._lock():
                self._stop(self.own)

    def status(self) -> list[ServiceStatus]:
        """Return the state of Kafka and of the store."""
        kafka = self._environ.get("KAFKA_BOOTSTRAP_SERVERS", "")
        store = self._environ.get("S3_ENDPOINT_URL", "")
        return [
            ServiceStatus("kafka", "external Kafka", True, True, kafka) if self.external_kafka else self.kafka.status(),
            ServiceStatus("store", "external S3 store", True, True, store)
            if self.external_store
            else self.seaweedfs.status(),
        ]

    def check_alive(self) -> None:
        """Raise a PlatformError with the end of the log if an embedded server has ended."""
        for part in self._embedded():
            part.check_alive()

    def __enter__(self) -> Platform:
        self.start(bound=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_own()

    def _embedded(self) -> list[Service]:
        # The store comes first, because it starts while Kafka's log folder is being formatted.
        parts: list[tuple[bool, Service]] = [(self.external_store, self.seaweedfs), (self.external_kafka, self.kafka)]
        return [part for external, part in parts if not external]

    def _stop(self, parts: Iterable[Service]) -> None:
        """Stop the servers, also if one of them does not end."""
        errors = []
        for part in parts:
            if part.running:
                self.say(f"Stopping {part.title}")
            try:
                part.stop()
            except PlatformError as error:
                errors.append(str(error))
        if errors:
            raise PlatformError("; ".join(errors))

    def _lock(self) -> AbstractContextManager[None]:
        try:
            self.state_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            advice = "set FEDSTREAM_HOME to a writable folder"
            raise PlatformError(
                f"cannot create the state folder {self.state_dir}: {error.strerror}; {advice}"
            ) from error
        waiting = "Waiting for another process that starts or stops the platform"
        return process.locked(self.state_dir / "lock", deadline_s=LOCK_S, on_wait=lambda: self.say(waiting))


def _variables(kafka: KafkaSettings) -> dict[str, str]:
    """Return the variables from which KafkaSettings.from_env reads the same settings."""
    if kafka.security_protocol == "PLAINTEXT":
        return {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers}
    return {f"KAFKA_{name}": value for name in KAFKA_VARIABLES if (value := getattr(kafka, name.lower()))}


def adopt_running_platform() -> None:
    """Point this process to the embedded platform if it is running; variables that are already set are kept."""
    platform = Platform()
    if platform.external_kafka and platform.external_store:
        return
    with suppress(PlatformError, SettingsError):
        for name, value in platform.env.items():
            os.environ.setdefault(name, value)
