"""A stand-in for Slack: its Web API as far as the bot calls it, and a page to play a team on."""
