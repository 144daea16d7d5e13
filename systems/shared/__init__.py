"""What all five systems use: addresses, column types, fixtures, commands."""
