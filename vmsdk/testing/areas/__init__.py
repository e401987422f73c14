"""The checks: a function for each, in a file for each area of the contract.

Three areas have more than one file: blocks also has `building` and `deciding`, life also has
`processes` and `surroundings`, and limits also has `resources`.
"""
