"""What every store needs of its own accord: seals, values as rows and back, and what a plan asks of any store."""
