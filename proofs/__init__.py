"""What we claim, as programs that show it: `python -m proofs line`."""
