"""The room `student`: what `decoupe distill` makes."""
