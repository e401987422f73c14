"""The checks: a file for each area of the contract, with a function for each check.

Three areas have several files: blocks has `building` and `deciding`, too, life has `processes` and
`surroundings`, and limits has `resources`.
"""
