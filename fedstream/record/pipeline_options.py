"""What a submission uses on a cluster.

These options are not part of the run. The form and the commands that submit offer them beside the RunSpec.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fedstream.record.document import Document
from fedstream.record.form import Entry
from fedstream.record.operational import OPERATIONAL

WHERE = Entry("where it runs")


class PipelineOptions(Document):
    """Limits, and the names of the config map and the secrets that the pods of the steps read."""

    node_budget: Annotated[int, WHERE, OPERATIONAL] = Field(
        1200,
        ge=1,
        description="Argo nodes that one submission can use; the next submission of the run continues from there.",
    )
    memory: Annotated[str, WHERE, OPERATIONAL] = Field(
        "4Gi",
        description="Memory limit of each step that holds records or weights, at least 1Gi. "
        "If a step exceeds it, raise it and submit the run again.",
    )
    config_map: Annotated[str, WHERE, OPERATIONAL] = Field(
        "fedstream", description="Config map with KAFKA_BOOTSTRAP_SERVERS, S3_ENDPOINT_URL, S3_BUCKET and the like."
    )
    store_secret: Annotated[str, WHERE, OPERATIONAL] = Field(
        "mlpipeline-minio-artifact", description="Secret with the object store's accesskey and secretkey."
    )
    client_store_secret: Annotated[str, WHERE, OPERATIONAL] = Field(
        "",
        description="The same for the clients' steps, whose key can have fewer rights; empty for store_secret. "
        "A site can name its own secret.",
    )
    kafka_secret: Annotated[str, WHERE, OPERATIONAL] = Field(
        "fedstream-kafka", description="Secret with Kafka's username and password. It can be absent."
    )
    noise_secret: Annotated[str, WHERE, OPERATIONAL] = Field(
        "fedstream-noise",
        description="Secret with the noise of central differential privacy, which only aggregate reads. "
        "It can be absent; see docs/privacy.md.",
    )
