"""The life of a plugin process: one file for each thing that can go wrong in it."""
