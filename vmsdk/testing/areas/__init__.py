"""The checks: one file for each area of the contract, with a function for each check."""
