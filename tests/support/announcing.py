"""What clients have announced on a control topic."""

from fedstream.settings import KafkaSettings
from fedstream.stream.announced import read_announced
from fedstream.stream.announcement import DATA_CONTROL_TOPIC, DataAnnouncement


def heard_of(kafka: KafkaSettings, client: str, control_topic: str = DATA_CONTROL_TOPIC) -> list[DataAnnouncement]:
    """Return a client's announcements, oldest first."""
    return [one.said for one in read_announced(kafka, control_topic) if one.said and one.said.client == client]
