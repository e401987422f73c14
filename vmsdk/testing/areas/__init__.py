"""The checks: a file for each area of the contract, with a function for each check.

Two areas have three files: blocks has `building` and `deciding`, too, and life has `processes` and
`surroundings`.
"""
