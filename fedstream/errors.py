"""The errors that a user can see.

Every message says what was wrong, where, and what to do about it. The command line prints only the message and exits
with `exit_code`.

    FedstreamError
    ├── UsageError           the caller asked for something impossible (exit code 2)
    │   ├── SettingsError        an environment variable is missing or malformed
    │   └── SpecError            a run's specification is invalid, or differs from the one on record
    ├── StreamError          something is wrong with Kafka
    │   ├── BrokerError          no broker answers, or the broker rejects the connection
    │   │   └── BrokerAway           no broker answers at the moment
    │   ├── TopicError           a topic or partition does not exist
    │   ├── AnnouncementError    a control message cannot be understood
    │   ├── WithdrawnError       the owner of records has withdrawn them
    │   ├── RetentionError       announced offsets are no longer in the topic
    │   ├── RecordError          a record does not decode as announced
    │   └── DeadlineError        the data did not arrive in time
    ├── StoreError           something is wrong with the object store
    │   ├── StoreUnavailable     the endpoint, bucket or credentials do not work
    │   ├── ObjectNotFound       a key does not exist
    │   ├── ObjectConflict       a write-once key already holds different bytes
    │   └── CorruptObject        an object does not match the digest on record
    ├── RegistryError        the model registry does not accept a published version
    ├── ModelError           a Keras model cannot be used
    ├── UpdateError          an update cannot take part in the average
    ├── RunError             a federated run cannot continue
    │   └── QuorumError          there are fewer accepted updates than the quorum
    ├── ClusterError         Kubernetes or Kubeflow Pipelines cannot be reached, or rejects the request
    │   └── ClusterAway          it does not answer at the moment
    └── PlatformError        the embedded Kafka or object store cannot be started or stopped
"""

from __future__ import annotations


class FedstreamError(Exception):
    """Base class of all errors that are shown to the user as a message."""

    exit_code = 1


class UsageError(FedstreamError):
    """The caller asked for something impossible."""

    exit_code = 2


class SettingsError(UsageError):
    """An environment variable is missing or malformed."""


class SpecError(UsageError):
    """A run's specification is invalid, or differs from the one on record."""


class StreamError(FedstreamError):
    """Something is wrong with Kafka."""


class BrokerError(StreamError):
    """No broker answers, or the broker rejects the connection."""


class BrokerAway(BrokerError):
    """No broker answers at the moment; a retry can succeed."""


class TopicError(StreamError):
    """A topic or a partition does not exist."""


class AnnouncementError(StreamError):
    """A control message cannot be understood."""


class WithdrawnError(StreamError):
    """The owner of records has withdrawn them."""


class RetentionError(StreamError):
    """Announced offsets are no longer in the topic."""


class RecordError(StreamError):
    """A record does not decode as announced."""


class DeadlineError(StreamError):
    """The data did not arrive in time."""


class StoreError(FedstreamError):
    """Something is wrong with the object store."""


class StoreUnavailable(StoreError):
    """The endpoint, the bucket or the credentials do not work."""


class ObjectNotFound(StoreError):
    """A key does not exist in the bucket."""


class ObjectConflict(StoreError):
    """A write-once key already holds different bytes."""


class CorruptObject(StoreError):
    """An object does not match the digest on record."""


class RegistryError(FedstreamError):
    """The model registry does not accept a published version."""


class ModelError(FedstreamError):
    """A Keras model cannot be used."""


class UpdateError(FedstreamError):
    """An update cannot take part in the average."""


class RunError(FedstreamError):
    """A federated run cannot continue."""


class QuorumError(RunError):
    """There are fewer accepted updates than the quorum."""


class ClusterError(FedstreamError):
    """Kubernetes or Kubeflow Pipelines cannot be reached, or rejects the request."""


class ClusterAway(ClusterError):
    """Kubernetes or Kubeflow Pipelines does not answer at the moment; a retry can succeed."""


class PlatformError(FedstreamError):
    """The embedded Kafka or object store cannot be started or stopped."""


def install_hint(extra: str) -> str:
    """Return how to install an extra of this package from its source folder; the package is not on PyPI."""
    return f"run `pip install '.[{extra}]'` in fedstream's source folder"
