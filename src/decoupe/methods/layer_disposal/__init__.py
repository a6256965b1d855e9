"""Layer disposal: scenes as layers, any of which may be left out."""
