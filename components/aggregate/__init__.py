"""aggregate: Freezes which updates count and aggregates them into the next global model."""
