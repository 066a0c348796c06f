"""How every task runs on Kubernetes: its addresses, credentials, resources and permissions.

Credentials come from secrets, never from a parameter.
"""

from fedstream.components.base import SLIM_IMAGE, TRAIN_IMAGE
from kfp import kubernetes
from kfp.dsl import PipelineTask

CONFIG = [
    "KAFKA_BOOTSTRAP_SERVERS",
    "KAFKA_SECURITY_PROTOCOL",
    "KAFKA_SASL_MECHANISM",
    "KAFKA_CA_FILE",
    "KAFKA_CERT_FILE",
    "KAFKA_KEY_FILE",
    "KAFKA_CREDENTIALS_FILE",
    "KAFKA_OAUTH_URL",
    "KAFKA_OAUTH_SCOPE",
    "SCHEMA_REGISTRY_URL",
    "S3_ENDPOINT_URL",
    "S3_BUCKET",
    "S3_PREFIX",
    "S3_REGION",
    "MODEL_REGISTRY_URL",
    "MODEL_REGISTRY_TOKEN_FILE",
    "MODEL_REGISTRY_CA_FILE",
]
"""Keys of the config map. All of them are optional there, because a step names the variable that it misses."""

KAFKA_FILES = "/etc/fedstream/kafka"
"""Where the Kafka secret is mounted.

KAFKA_CA_FILE, KAFKA_CERT_FILE, KAFKA_KEY_FILE and KAFKA_CREDENTIALS_FILE can point into this folder.
"""


REQUESTS = {SLIM_IMAGE: ("100m", "256Mi"), TRAIN_IMAGE: ("500m", "1Gi")}
"""Processor and memory that a task of an image needs for itself, without records and weights."""

SMALL = "1Gi"
"""Memory limit of a task that holds neither records nor weights."""


NOISE = {"noise": "FEDSTREAM_NOISE_SECRET"}
"""Key of a secret from which noise is made."""


def connect(
    task: PipelineTask, config_map: str, store_secret: str, kafka_secret: str, memory: str = SMALL
) -> PipelineTask:
    """Give a task its addresses, credentials, resources and label, and forbid it to run as root.

    Caching is off because a cached key can point at an object that no longer exists.

    Args:
        task: The task.
        config_map: Name of the config map.
        store_secret: Name of the secret with `accesskey` and `secretkey`, like KFP's own secret.
        kafka_secret: Name of the secret with `username`, `password` and certificates; it can be absent.
        memory: Memory limit at which the task is killed. Processors are not limited: a step uses as many as it has
            threads.
    """
    task.set_caching_options(False)
    cpu, requested = REQUESTS.get(task.container_spec.image, REQUESTS[TRAIN_IMAGE])
    task.set_cpu_request(cpu).set_memory_request(requested).set_memory_limit(memory)
    kubernetes.set_security_context(task, run_as_non_root=True)
    kubernetes.add_pod_label(task, "app.kubernetes.io/part-of", "fedstream")
    kubernetes.use_config_map_as_env(task, config_map, {key: key for key in CONFIG}, optional=True)
    kubernetes.use_secret_as_env(
        task, store_secret, {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
    )
    kubernetes.use_secret_as_env(
        task, kafka_secret, {"username": "KAFKA_USERNAME", "password": "KAFKA_PASSWORD"}, optional=True
    )
    kubernetes.use_secret_as_volume(task, kafka_secret, mount_path=KAFKA_FILES, optional=True)
    return task


def with_noise(task: PipelineTask, secret: str) -> PipelineTask:
    """Let a task make noise from the key `noise` of a secret. No other task may read it, or it could subtract it.

    Args:
        task: The task.
        secret: Name of the secret; it or its key can be absent.
    """
    kubernetes.use_secret_as_env(task, secret, NOISE, optional=True)
    return task
