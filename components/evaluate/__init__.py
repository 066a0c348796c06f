"""evaluate: Measures, decides whether the run goes on, and commits the round."""
