"""open_round: Asks the store which round a slot runs; -1 when there is nothing to do."""
