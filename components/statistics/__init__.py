"""statistics: Writes what one client contributes to the statistics of a run."""
