"""select_clients: Decides, once, which clients a round asks."""
