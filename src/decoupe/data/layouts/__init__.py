"""Readers of official data set layouts, a few to a file; `catalogue` lists them all."""
