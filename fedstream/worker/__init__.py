"""Workers, which train.

A worker is asked for a client's update of a round. The answer is the existence of the update's manifest.
"""
