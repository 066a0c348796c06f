"""Find out what is wrong with a machine or a cluster."""
