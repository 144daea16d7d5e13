"""Report weeks: a year of data in weekly slices that cannot say which execution made them."""
