"""Present a run to people: the HTML report, the model card and DataFrames. Reads the store and never writes to it."""
