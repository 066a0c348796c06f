"""A model for the records of two_wards.py.

Add it with `fedstream model add examples.model_tumours:build --name tumours`.
"""

from __future__ import annotations

import keras


def build() -> keras.Model:
    """Return a compiled model for records of 30 measurements, and labels 0 and 1."""
    model = keras.Sequential(
        [
            keras.Input((30,)),
            keras.layers.BatchNormalization(momentum=0.9),  # areas are in the hundreds, smoothness is about a tenth
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(2, activation="softmax"),
        ],
        name="tumours",
    )
    model.compile(optimizer=keras.optimizers.Adam(0.005), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
