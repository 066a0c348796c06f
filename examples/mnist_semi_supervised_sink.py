"""Stream MNIST when only a sixth of the images has labels.

    python examples/mnist_semi_supervised_sink.py [mnist.npz] [TOPIC]

Records without labels have a topic of their own, whose offsets are announced with the others.
"""

import logging

from fedstream.stream import FederatedRawSink
from images import SERVERS, arguments

logging.basicConfig(level=logging.INFO)
logging.getLogger("kafka").setLevel(logging.WARNING)

given = arguments(__doc__)
images, labelled = given.images, len(given.images.y_train) // 6
unlabelled = f"{given.topic}-unlabelled"

with FederatedRawSink(SERVERS, given.topic, 1, validation_rate=0.1, unsupervised_topic=unlabelled) as mnist:
    for x, y in zip(images.x_train[:labelled], images.y_train[:labelled], strict=True):
        mnist.send(data=x, label=y)
    for x in images.x_train[labelled:]:
        mnist.unsupervised_send(data=x)
    for x, y in zip(images.x_test, images.y_test, strict=True):
        mnist.send(data=x, label=y)
