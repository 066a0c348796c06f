"""A model of the digits that answers twice: a small part for the edge, and a larger part for the cloud behind it.

Add it with `fedstream model add examples.model_early_exit:build --name early-exit`.
"""

from __future__ import annotations

import keras


def build() -> keras.Model:
    """Return a compiled model for pictures of 8 x 8 pixels, whose outputs `edge` and `cloud` predict the same digit."""
    picture = keras.Input((8, 8))
    hidden = keras.layers.Rescaling(1 / 16)(picture)
    hidden = keras.layers.Flatten()(hidden)
    passed = keras.layers.Dense(32, activation="relu")(hidden)
    edge = keras.layers.Dense(10, activation="softmax", name="edge")(passed)
    hidden = keras.layers.Dense(64, activation="relu")(passed)
    cloud = keras.layers.Dense(10, activation="softmax", name="cloud")(hidden)
    model = keras.Model(picture, [edge, cloud], name="early_exit")
    model.compile(
        optimizer=keras.optimizers.Adam(0.005),
        loss="sparse_categorical_crossentropy",
        metrics=[["accuracy"], ["accuracy"]],
    )
    return model
