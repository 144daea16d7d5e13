"""Execution data: budget execution of health facilities under a key that forgets the facility."""
