"""publish: Publishes the best global model of a finished run, and tells the data owners."""
