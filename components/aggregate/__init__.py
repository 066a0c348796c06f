"""aggregate: Freezes which updates count and makes the next global model of them."""
