"""Stream MNIST as a data owner.

    python examples/mnist_raw_sink.py [mnist.npz] [TOPIC]

This is Kafka-ML's own example; only the import of the sink and the source of the images differ. FEDSTREAM_CLIENT gives
the name of the client. If it is not set, the name of the topic is used.
"""

import json
import logging

from fedstream.stream import FederatedRawSink  # Kafka-ML: from datasources.federated_raw_sink import FederatedRawSink
from images import SERVERS, arguments

logging.basicConfig(level=logging.INFO)
logging.getLogger("kafka").setLevel(logging.WARNING)

given = arguments(__doc__)
images = given.images

mnist = FederatedRawSink(
    boostrap_servers=SERVERS,
    topic=given.topic,
    deployment_id=1,
    description="Mnist dataset",
    dataset_restrictions=json.dumps({}),
    validation_rate=0.1,
    test_rate=0,
    control_topic="FEDERATED_DATA_CONTROL_TOPIC",
)

for x, y in zip(images.x_train, images.y_train, strict=True):
    mnist.send(data=x, label=y)

for x, y in zip(images.x_test, images.y_test, strict=True):
    mnist.send(data=x, label=y)

mnist.close()
