"""Who trains: a worker is asked for a client's update of a round, and the existence of its manifest is the answer."""
