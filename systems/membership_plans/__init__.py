"""Membership plans: a price list of gym chains whose key sees nothing where a column is NULL."""
