"""Triage bot: an on-call rotation whose keys are too strict here and too loose there."""
