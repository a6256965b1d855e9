"""Tables of the source texts as commands: our figure beside theirs.

A room's tables are a file here that ends in `TABLES`; adding it means adding it to the sum below.
"""

from __future__ import annotations

from collections.abc import Mapping

from decoupe.reproduce import ac, independence, layers, redraw, scene_vae, weak
from decoupe.reproduce.table import SCALES, Claim, Row, Table, Variant

__all__ = ["SCALES", "TABLES", "Claim", "Row", "Table", "Variant"]

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (*redraw.TABLES, *independence.TABLES, *layers.TABLES, *ac.TABLES, *scene_vae.TABLES, *weak.TABLES)
}
"""Name -> table, in the order in which they are listed."""
