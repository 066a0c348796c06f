# Starts the broker with addresses that reach it: its own name for pods, its node's address and node port for everyone else.
set -eu
files=/etc/kafka-files
{
  cat "$files/server.properties" $MORE_PROPERTIES
  echo "advertised.listeners=INSIDE://$POD_NAME.kafka-brokers.$POD_NAMESPACE.svc:9092,OUTSIDE://${OUTSIDE_HOST:-$NODE_ADDRESS}:$OUTSIDE_PORT"
} >/tmp/server.properties

# Not the image's scripts: they write beside the program, which is read-only here.
kafka() {
  exec java $JAVA_OPTIONS -Dlog4j2.configurationFile="$files/log4j2.properties" -cp '/opt/kafka/libs/*' "$@"
}
data=$(sed -n 's/^log.dirs=//p' /tmp/server.properties)
if [ ! -e "$data/meta.properties" ]; then
  # An id of 22 characters; a leading "-" would be taken for an option.
  id=k$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22)
  (kafka kafka.tools.StorageTool format --ignore-formatted --cluster-id "$id" --config /tmp/server.properties)
fi
kafka kafka.Kafka /tmp/server.properties
