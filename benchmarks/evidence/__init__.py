"""Does the twist help a classifier?  The plan, the runs and the verdicts; see README.md beside this file."""
