"""Workout planner: a training calendar whose selections are one-to-one in the code only."""
