"""What a submission uses on a cluster. It is no part of the run: the form has it beside the RunSpec, and so have the commands that submit."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fedstream.record.document import Document
from fedstream.record.form import Entry
from fedstream.record.operational import OPERATIONAL

WHERE = Entry("where it runs")


class PipelineOptions(Document):
    """Limits, and names of the config map and the secrets that the steps' pods read."""

    node_budget: Annotated[int, WHERE, OPERATIONAL] = Field(
        1200,
        ge=1,
        description="Argo nodes that one submission may use; the next submission of the same run goes on from there.",
    )
    memory: Annotated[str, WHERE, OPERATIONAL] = Field(
        "4Gi",
        description="Memory limit of each step that holds records or weights, at least 1Gi; if one exceeds it, raise it and submit again.",
    )
    config_map: Annotated[str, WHERE, OPERATIONAL] = Field(
        "fedstream", description="Config map with KAFKA_BOOTSTRAP_SERVERS, S3_ENDPOINT_URL, S3_BUCKET and the like."
    )
    store_secret: Annotated[str, WHERE, OPERATIONAL] = Field(
        "mlpipeline-minio-artifact", description="Secret with the object store's accesskey and secretkey."
    )
    client_store_secret: Annotated[str, WHERE, OPERATIONAL] = Field(
        "",
        description="The same for the clients' steps, whose key may do less; empty for store_secret. A site may name its own.",
    )
    kafka_secret: Annotated[str, WHERE, OPERATIONAL] = Field(
        "fedstream-kafka", description="Secret with Kafka's username and password; it may be absent."
    )
