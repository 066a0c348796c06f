"""local_train: Trains the global model on a client's slice and writes its update."""
