"""plan_training: Plans a run: validates the form, matches announcements, writes `spec.json` and round 0, and returns the loop's slots."""
