"""Stream a table as JSON records, one for each row.

    python examples/two_wards.py        # writes ward7.csv, whose column `outcome` is the label
    python examples/csv_sink.py ward7.csv outcome [TOPIC]

pandas reads the file, so a data owner can select, join and clean its rows before they are sent. Labels that are text
are announced as classes. KAFKA_BOOTSTRAP_SERVERS gives the brokers.
"""

import os
import sys

import pandas as pd

from fedstream.stream import FederatedJsonSink

if len(sys.argv) < 3:
    sys.exit("usage: python csv_sink.py FILE.csv LABEL [TOPIC]")

file, label, topic = (*sys.argv[1:], "patients")[:3]
servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")
table = pd.read_csv(file).dropna()
fields = [name for name in table.columns if name != label]
classes = [] if pd.api.types.is_numeric_dtype(table[label]) else sorted(table[label].unique())

with FederatedJsonSink(servers, topic, 1, fields, classes=classes, validation_rate=0.2) as sink:
    for row in table.to_dict("records"):
        sink.send(row, row[label])

print(f"announced {sink.announcement.topic} for client {sink.client}")
