"""Five applications with a broken key each, and how it is mended. Run from a checkout.

They see of onerow what its users see: the public names.
"""
