"""Stream MNIST when the first sixth of the images has labels, and the others keep coming without.

    python examples/mnist_semi_supervised_incremental_sink.py [mnist.npz] [TOPIC] [--pause SECONDS]

The stream is announced after its labelled records. The announcement contains their offsets, and the topic of those
without labels.
"""

import logging
import time

import numpy as np

from fedstream.stream import OnlineFederatedRawSink
from images import SERVERS, arguments

logging.basicConfig(level=logging.INFO)
logging.getLogger("kafka").setLevel(logging.WARNING)

given = arguments(__doc__)
labelled, *others = np.array_split(np.arange(len(given.images.y_train)), 6)
x_train, y_train, unlabelled = given.images.x_train, given.images.y_train, f"{given.topic}-unlabelled"

with OnlineFederatedRawSink(SERVERS, given.topic, 1, validation_rate=0.1, unsupervised_topic=unlabelled) as mnist:
    for index in labelled:
        mnist.send(data=x_train[index], label=y_train[index])
    mnist.send_online_control_msg(data=x_train[0], label=y_train[0])
    for number, part in enumerate(others, 1):
        time.sleep(given.pause)
        for index in part:
            mnist.unsupervised_send(data=x_train[index])
        logging.info("sent unlabelled part %d of %d, %d records", number, len(others), len(part))
