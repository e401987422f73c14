"""xsvm, the example VM of AvalancheGo, in Python: transfers on a chain and between chains."""
