import subprocess
import sys

import pytest
from kafka.errors import InvalidReceiveError

from fedstream.errors import BrokerAway, BrokerError
from fedstream.settings import KafkaSettings
from fedstream.stream.client import explained


def test_a_broker_that_speaks_tls_to_a_plaintext_client_is_not_waited_for() -> None:
    with (
        pytest.raises(
            BrokerError, match=r"b:9093 do not answer as PLAINTEXT .*check .*KAFKA_SECURITY_PROTOCOL"
        ) as raised,
        explained(KafkaSettings("b:9093")),
    ):
        raise InvalidReceiveError(352518912)
    assert not isinstance(raised.value, BrokerAway)


def test_what_kafka_python_logs_is_not_shown_beside_our_error() -> None:
    """Notebooks and pods give the root logger a handler; a broker that is away is said once, by the exception."""
    code = """
import logging
logging.basicConfig(level=logging.ERROR)
from fedstream.errors import BrokerAway
from fedstream.settings import KafkaSettings
from fedstream.stream import client
client.CONNECT_S = 1.0
try:
    with client.admin(KafkaSettings("127.0.0.1:9")):
        pass
except BrokerAway as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert said.stderr == ""
    assert said.stdout.startswith("the brokers 127.0.0.1:9 do not answer")
