"""What the verbs of the line are made of: state in memory and values, each for one purpose."""
