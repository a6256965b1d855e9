"""Task `cluster`: the single things in ONE image of many alike things, and their number."""
