"""Stream MNIST as a data owner.

This is Kafka-ML's own example; only the import of the sink and the source of the images differ.

    python examples/mnist_raw_sink.py mnist.npz [TOPIC]

KAFKA_BOOTSTRAP_SERVERS gives the broker; `eval "$(fedstream services env)"` sets it. FEDSTREAM_CLIENT gives the name of
the client. If it is not set, the name of the topic is used.
"""

import json
import logging
import os
import sys

import numpy as np

from fedstream.stream import FederatedRawSink  # Kafka-ML: from datasources.federated_raw_sink import FederatedRawSink

logging.basicConfig(level=logging.INFO)
logging.getLogger("kafka").setLevel(logging.WARNING)

if len(sys.argv) < 2:
    sys.exit("usage: python mnist_raw_sink.py mnist.npz [TOPIC]")

with np.load(sys.argv[1], allow_pickle=False) as arrays:
    (x_train, y_train), (x_test, y_test) = (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])

if x_train.ndim == 2:  # some files hold each image as a row of 784 pixels
    x_train, x_test = x_train.reshape(-1, 28, 28), x_test.reshape(-1, 28, 28)

mnist = FederatedRawSink(
    boostrap_servers=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
    topic=sys.argv[2] if len(sys.argv) > 2 else "mnist_fed",
    deployment_id=1,
    description="Mnist dataset",
    dataset_restrictions=json.dumps({}),
    validation_rate=0.1,
    test_rate=0,
    control_topic="FEDERATED_DATA_CONTROL_TOPIC",
)

for x, y in zip(x_train, y_train, strict=True):
    mnist.send(data=x, label=y)

for x, y in zip(x_test, y_test, strict=True):
    mnist.send(data=x, label=y)

mnist.close()
