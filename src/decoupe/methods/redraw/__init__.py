"""Redraw: regions are right when one can be redrawn and the image still looks real (ReDO and its study)."""
