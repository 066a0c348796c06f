"""plan_training: Plans a run.

Validates the form, matches announcements, writes `spec.json` and round 0, and returns the loop's slots.
"""
