import pytest
from kafka.errors import InvalidReceiveError

from fedstream.errors import BrokerAway, BrokerError
from fedstream.settings import KafkaSettings
from fedstream.stream.client import explained


def test_a_broker_that_speaks_tls_to_a_plaintext_client_is_not_waited_for() -> None:
    with (
        pytest.raises(BrokerError, match=r"b:9093 do not answer as PLAINTEXT .*check .*KAFKA_SECURITY_PROTOCOL") as raised,
        explained(KafkaSettings("b:9093")),
    ):
        raise InvalidReceiveError(352518912)
    assert not isinstance(raised.value, BrokerAway)
