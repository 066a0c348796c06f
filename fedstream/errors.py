"""The errors a user can meet.

Every message says what was wrong, where, and what to do about it. The command line prints the message alone and exits with `exit_code`.

    FedstreamError
    ├── UsageError           the caller asked for something impossible (exit code 2)
    │   ├── SettingsError        environment: a variable is missing or malformed
    │   └── SpecError            a run's specification is invalid, or differs from the one on record
    ├── StreamError          Kafka side
    │   ├── BrokerError          no broker answers, or it refuses us
    │   │   └── BrokerAway           no broker answers now; it may come back
    │   ├── TopicError           a topic or partition does not exist
    │   ├── AnnouncementError    a control message cannot be understood
    │   ├── RetentionError       announced offsets are no longer in the topic
    │   ├── RecordError          a record does not decode as announced
    │   └── DeadlineError        the data did not arrive in time
    ├── StoreError           object side
    │   ├── StoreUnavailable     endpoint, bucket or credentials do not work
    │   ├── ObjectNotFound       a key is not there
    │   ├── ObjectConflict       a write-once key holds other bytes
    │   └── CorruptObject        an object does not have the digest on record
    ├── RegistryError        the model registry does not take a published version
    ├── ModelError           a Keras model cannot be used
    ├── UpdateError          an update cannot take part in the average
    ├── RunError             a federated run cannot go on
    │   └── QuorumError          fewer accepted updates than the quorum
    ├── ClusterError         Kubernetes or Kubeflow Pipelines cannot be reached or refuses us
    │   └── ClusterAway          it does not answer now; it may come back
    └── PlatformError        the embedded Kafka or object store cannot be started or stopped
"""

from __future__ import annotations


class FedstreamError(Exception):
    """Base of all errors that are explained to the user."""

    exit_code = 1


class UsageError(FedstreamError):
    """The caller asked for something impossible."""

    exit_code = 2


class SettingsError(UsageError):
    """An environment variable is missing or malformed."""


class SpecError(UsageError):
    """A run's specification is invalid, or differs from the one on record."""


class StreamError(FedstreamError):
    """Something is wrong on the Kafka side."""


class BrokerError(StreamError):
    """No broker answers, or it refuses us."""


class BrokerAway(BrokerError):
    """No broker answers now; it may come back."""


class TopicError(StreamError):
    """A topic or a partition does not exist."""


class AnnouncementError(StreamError):
    """A control message cannot be understood."""


class RetentionError(StreamError):
    """Announced offsets are no longer in the topic."""


class RecordError(StreamError):
    """A record does not decode as announced."""


class DeadlineError(StreamError):
    """The data did not arrive in time."""


class StoreError(FedstreamError):
    """Something is wrong on the object store's side."""


class StoreUnavailable(StoreError):
    """Endpoint, bucket or credentials do not work."""


class ObjectNotFound(StoreError):
    """A key is not in the bucket."""


class ObjectConflict(StoreError):
    """A write-once key already holds other bytes."""


class CorruptObject(StoreError):
    """An object does not have the digest on record."""


class RegistryError(FedstreamError):
    """The model registry does not take a published version."""


class ModelError(FedstreamError):
    """A Keras model cannot be used."""


class UpdateError(FedstreamError):
    """An update cannot take part in the average."""


class RunError(FedstreamError):
    """A federated run cannot go on."""


class QuorumError(RunError):
    """Fewer accepted updates than the quorum."""


class ClusterError(FedstreamError):
    """Kubernetes or Kubeflow Pipelines cannot be reached, or refuses us."""


class ClusterAway(ClusterError):
    """Kubernetes or Kubeflow Pipelines does not answer now; it may come back."""


class PlatformError(FedstreamError):
    """The embedded Kafka or object store cannot be started or stopped."""


def install_hint(extra: str) -> str:
    """Say how to install an extra of the package, which is installed from its source folder: it is on no index."""
    return f"run `pip install '.[{extra}]'` in the folder of fedstream's source"
