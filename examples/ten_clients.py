"""Stream MNIST as ten data owners, each of which has two shards of the records sorted by label.

    python examples/ten_clients.py [mnist.npz] [PREFIX]

Most of them see two or three digits only, as in McMahan et al. 2017 (arXiv 1602.05629), section 3. Their names and
their topics are PREFIX-0 to PREFIX-9. A run with them, and what each was worth:

    fedstream run --name ten --model builtin:digits-mlp --rounds 5     # with mnist.npz: builtin:mnist-2nn
    fedstream contributions ten
"""

import numpy as np

import fedstream
from fedstream.local.partition import deal
from images import arguments

given = arguments(__doc__)
x, y = given.images.x_train, given.images.y_train

for number, own in enumerate(deal(y, clients=10, partition="shards:2")):
    announced = fedstream.send(x[own], y[own], client=f"{given.topic}-{number}", validation_rate=0.1)
    digits, counts = np.unique(y[own], return_counts=True)
    held = ", ".join(f"{count} of {digit}" for digit, count in zip(digits, counts, strict=True))
    print(f"{announced.client} announced {announced.topic}: {held}")
