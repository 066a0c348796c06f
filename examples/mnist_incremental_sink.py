"""Stream MNIST in six parts, as records that keep coming.

    python examples/mnist_incremental_sink.py [mnist.npz] [TOPIC] [--pause SECONDS]

The stream is announced before its first record, by its topic. A block of `with` ends the stream, as `online_close()`
does in Kafka-ML's example.
"""

import logging
import time

import numpy as np

from fedstream.stream import OnlineFederatedRawSink
from images import SERVERS, arguments

logging.basicConfig(level=logging.INFO)
logging.getLogger("kafka").setLevel(logging.WARNING)

given = arguments(__doc__)
images = given.images

with OnlineFederatedRawSink(SERVERS, given.topic, 1, description="Mnist dataset", validation_rate=0.1) as mnist:
    mnist.send_online_control_msg(data=images.x_train[0], label=images.y_train[0])
    for number, part in enumerate(np.array_split(np.arange(len(images.y_train)), 6), 1):
        for index in part:
            mnist.send(data=images.x_train[index], label=images.y_train[index])
        logging.info("sent part %d of 6, %d records; waiting %g s", number, len(part), given.pause)
        time.sleep(given.pause)
