"""ChoirRec in torch: tables, group id, attention, channels, reliability."""
