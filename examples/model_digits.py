"""A model for scikit-learn's digits. Add it with `fedstream model add examples.model_digits:build --name digits`."""

from __future__ import annotations

import keras


def build() -> keras.Model:
    """Return a compiled model for records of 8 by 8 pixels with values 0 to 16, and labels 0 to 9."""
    model = keras.Sequential(
        [
            keras.Input((8, 8)),
            keras.layers.Rescaling(1 / 16),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10, activation="softmax"),
        ],
        name="digits",
    )
    model.compile(optimizer=keras.optimizers.Adam(0.005), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
